//! One struct for each kind of result.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::base64_bytes;

/// Objects with their boxes, best first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Detections {
    /// Best first.
    pub detections: Vec<Detection>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Detection {
    /// x, y, width, height in pixels of the source picture.
    pub bbox: [f64; 4],
    /// 0 to 1.
    pub score: f64,
    /// Where the model has classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_id: Option<i64>,
    /// Where the model has labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Which pixels belong to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// x, y, score of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keypoints: Option<Vec<[f64; 3]>>,
    /// Radians; `bbox` is then the unrotated box around the centre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub angle: Option<f64>,
    /// What is written there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The same number for the same object from frame to frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_id: Option<i64>,
    /// Results of models that looked at this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Value>,
}

/// Which pixels belong to an object: run lengths as COCO writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mask {
    /// Height, width.
    pub size: [u32; 2],
    /// The run lengths, as text or as numbers.
    pub counts: Value,
}

/// Classes, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Classification {
    /// Best first.
    pub classes: Vec<ClassScore>,
    /// Of a sound: the classes of its parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Value>,
}

/// A class and its score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ClassScore {
    /// 0 to 1.
    pub score: f64,
    /// Where the model has classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_id: Option<i64>,
    /// Where the model has labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
}

/// A vector, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Embedding {
    /// Elements of a vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dim: Option<u32>,
    /// The vector, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vector>,
    /// The vectors, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<Vec<Vector>>,
}

/// Numbers that came as JSON or as base64 of little-endian float32; written as numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Vector(pub Vec<f32>);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Numbers(Vec<f32>),
            Base64(String),
        }
        match Form::deserialize(from)? {
            Form::Numbers(numbers) => Ok(Self(numbers)),
            Form::Base64(text) => {
                let bytes = base64_bytes::decode(&text).map_err(D::Error::custom)?;
                if bytes.len() % 4 != 0 {
                    return Err(D::Error::custom("a vector that is cut short"));
                }
                let element = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                Ok(Self(bytes.chunks_exact(4).map(element).collect()))
            }
        }
    }
}

/// A line of text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Text {
    /// What is written.
    pub text: String,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Character by character, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chars: Option<Value>,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Transcript {
    /// All of it.
    pub text: String,
    /// Its code, as "en".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Part by part.
    #[serde(default)]
    pub segments: Vec<Value>,
}

/// A class for every pixel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Segmentation {
    /// A PNG of class ids.
    #[serde(with = "base64_bytes")]
    pub mask: Bytes,
    /// Class names.
    #[serde(default)]
    pub labels: Value,
}

/// Points of faces, hands or bodies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Landmarks {
    /// One for each face, hand or body: points, world points, and what is derived.
    pub subjects: Vec<Value>,
}

/// A picture as a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EncodedImage {
    /// The file.
    #[serde(with = "base64_bytes")]
    pub data: Bytes,
    /// Which kind of file.
    #[serde(default)]
    pub format: String,
}

/// A sound as a WAV file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Audio {
    /// The file.
    #[serde(with = "base64_bytes")]
    pub data: Bytes,
    /// Samples a second.
    pub rate: u32,
}

/// Scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scores {
    /// As the model gives them.
    pub scores: Value,
}

/// Tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tokens {
    /// As the model gives them.
    pub tokens: Value,
}

/// The model's own outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Raw {
    /// By name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// One output of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tensor {
    /// Its axes.
    pub shape: Vec<usize>,
    /// Of the elements, as "float32".
    pub dtype: String,
    /// The elements, row-major and little-endian.
    #[serde(with = "base64_bytes")]
    pub data: Bytes,
}
