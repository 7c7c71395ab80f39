//! What a model has found, read from an answer.

mod base64_bytes;
mod kinds;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;

use super::{Error, ErrorAnswer, Result};

pub use kinds::{
    Audio, ClassScore, Classification, Detection, Detections, Embedding, EncodedImage, Landmarks, Mask, Raw,
    Scores, Segmentation, Tensor, Text, Tokens, Transcript, Vector,
};

/// What a model has found in one picture, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct InferResult {
    /// What was found, by kind.
    #[serde(flatten)]
    pub output: Output,
    /// `preprocess_ms` + `predict_ms`.
    pub inference_ms: f64,
    /// Resize and tensor, no decoding.
    pub preprocess_ms: f64,
    /// The predict call; items of one call share it.
    pub predict_ms: f64,
    /// How many items the predict call had.
    pub batch_size: u32,
    /// "WxH" of the source picture.
    pub frame_size: String,
    /// Stage by stage.
    pub timings: Timings,
}

impl InferResult {
    /// Reads an answer's JSON.
    ///
    /// # Errors
    /// [`Error::Answer`] where it is an error object, [`Error::ProtocolViolation`] where it is no result at all.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let head: Head<'_> = serde_json::from_slice(json).map_err(|error| unreadable(&error))?;
        if head.error.is_some() {
            return Err(error_in(json));
        }
        let kind = head.kind.ok_or_else(|| Error::violation("a result without kind"))?;
        let output = Output::from_json(&kind, json).map_err(|error| unreadable(&error))?;
        Ok(Self {
            output,
            inference_ms: head.inference_ms,
            preprocess_ms: head.preprocess_ms,
            predict_ms: head.predict_ms,
            batch_size: head.batch_size,
            frame_size: head.frame_size,
            timings: head.timings,
        })
    }

    /// The objects, where the model is a detector; else none.
    pub fn detections(&self) -> &[Detection] {
        match &self.output {
            Output::Detections(found) => &found.detections,
            _ => &[],
        }
    }
}

/// Reads the JSON of a batch's answer: one result or error an item.
pub(crate) fn batch_from_json(json: &[u8]) -> Result<Vec<Result<InferResult>>> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        error: Option<Cow<'a, str>>,
        #[serde(borrow)]
        results: Option<Vec<&'a RawValue>>,
    }
    let batch: Batch<'_> = serde_json::from_slice(json).map_err(|error| unreadable(&error))?;
    if batch.error.is_some() {
        return Err(error_in(json));
    }
    let results = batch.results.ok_or_else(|| Error::violation("a batch without results"))?;
    results
        .into_iter()
        .map(|item| match InferResult::from_json(item.get().as_bytes()) {
            Err(violation @ Error::ProtocolViolation(_)) => Err(violation),
            item => Ok(item),
        })
        .collect()
}

/// Reads the JSON of any other answer.
pub(crate) fn answer_from_json<T: for<'de> Deserialize<'de>>(json: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Fault<'a> {
        #[serde(borrow)]
        error: Option<Cow<'a, str>>,
    }
    let fault: Fault<'_> = serde_json::from_slice(json).map_err(|error| unreadable(&error))?;
    if fault.error.is_some() {
        return Err(error_in(json));
    }
    serde_json::from_slice(json).map_err(|error| unreadable(&error))
}

/// The error of an answer that is known to have one.
pub(crate) fn error_in(json: &[u8]) -> Error {
    match serde_json::from_slice(json).map(ErrorAnswer::of) {
        Ok(Ok(answer)) => answer.into(),
        Ok(Err(_)) => Error::violation("an error that is no text"),
        Err(error) => unreadable(&error),
    }
}

fn unreadable(error: &serde_json::Error) -> Error {
    Error::violation(format_args!("an answer cannot be read: {error}"))
}

/// What every result has beside its kind's own keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    error: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    inference_ms: f64,
    #[serde(default)]
    preprocess_ms: f64,
    #[serde(default)]
    predict_ms: f64,
    #[serde(default)]
    batch_size: u32,
    #[serde(default)]
    frame_size: String,
    #[serde(default)]
    timings: Timings,
}

/// How long each stage took, in milliseconds; 0 for one that was skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Timings {
    /// Arrival to prepare.
    pub queue: f64,
    /// Decoding the file.
    pub decode: f64,
    /// Resize, layout.
    pub prepare: f64,
    /// Prepared to predict.
    pub wait: f64,
    /// The runtime alone.
    pub predict: f64,
    /// Boxes and the like from raw outputs.
    pub postprocess: f64,
}

macro_rules! outputs {
    ($($(#[doc = $doc:literal])+ $name:ident($content:ty) = $kind:literal,)+) => {
        /// What was found, by `kind`.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "kind")]
        #[non_exhaustive]
        pub enum Output {
            $($(#[doc = $doc])+ #[serde(rename = $kind)] $name($content),)+
            /// A kind that this version does not know: the whole object.
            #[serde(untagged)]
            Other(Value),
        }

        impl Output {
            /// The kind, as on the wire.
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$name(_) => $kind,)+
                    Self::Other(result) => result.get("kind").and_then(Value::as_str).unwrap_or_default(),
                }
            }

            fn from_json(kind: &str, json: &[u8]) -> serde_json::Result<Self> {
                match kind {
                    $($kind => serde_json::from_slice(json).map(Self::$name),)+
                    _ => serde_json::from_slice(json).map(Self::Other),
                }
            }
        }
    };
}

outputs! {
    /// Objects with their boxes.
    Detections(Detections) = "detections",
    /// Classes of the whole picture.
    Classification(Classification) = "classification",
    /// Classes of a sound.
    AudioClassification(Classification) = "audio-classification",
    /// A vector, or several.
    Embedding(Embedding) = "embedding",
    /// A line of text.
    Text(Text) = "text",
    /// What was said.
    Transcript(Transcript) = "transcript",
    /// A class for every pixel.
    Segmentation(Segmentation) = "segmentation",
    /// Points of faces, hands or bodies.
    Landmarks(Landmarks) = "landmarks",
    /// A picture.
    Image(EncodedImage) = "image",
    /// A sound.
    Audio(Audio) = "audio",
    /// Scores.
    Scores(Scores) = "scores",
    /// Tokens.
    Tokens(Tokens) = "tokens",
    /// The model's own outputs.
    Raw(Raw) = "raw",
}
