//! What a stream tells.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::protocol::{InferResult, Result};

/// What a stream tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The container's index is at its end: frames come when it is complete.
    NeedsTail,
    /// The source has shown what it is; after a reconnection again.
    Started(Box<Started>),
    /// A frame, and what each model has found in it.
    Frame(Box<Frame>),
    /// The source was lost, or could not be reached.
    Reconnecting {
        /// The how many-th attempt in a row comes next, from 1.
        attempt: u32,
        /// How long until then.
        delay: Duration,
        /// A word for programs, as "unreachable".
        reason: String,
        /// For a person.
        error: String,
    },
    /// The source is there again.
    Reconnected {
        /// The how many-th attempt it was.
        attempt: u32,
    },
    /// The last event of a stream that has not failed; one that has ends with an error.
    End {
        /// Frames that were answered.
        frames: u64,
        /// Frames that were dropped for newer ones.
        dropped: u64,
        /// Why there are no more.
        reason: EndReason,
    },
    /// An event that this version does not know, as it came.
    Other(Value),
}

/// What a stream shows. `None` where the container does not tell it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Started {
    /// As "h264".
    pub codec: Option<String>,
    /// The container's format, as "mov,mp4,m4a,3gp,3g2,mj2".
    pub container: Option<String>,
    /// Of the frames that are looked at, in pixels.
    pub width: Option<u32>,
    /// The same.
    pub height: Option<u32>,
    /// Frames a second, on average.
    pub fps: Option<f64>,
    /// How long it is.
    #[serde(rename = "durationMs", deserialize_with = "from_ms")]
    pub duration: Option<Duration>,
    /// How many frames it has.
    pub frames: Option<u64>,
    /// By how many degrees it is turned clockwise: 0, 90, 180 or 270.
    pub rotation: Option<u32>,
    /// The width of a coded pixel to its height, as "1:1". Frames have square ones.
    pub pixel_aspect: Option<String>,
    /// The device type that decodes; `None`: software.
    pub hardware: Option<String>,
    /// Why hardware that was asked for is not used.
    pub hardware_fallback: Option<String>,
    /// What else it said.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A frame of a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Frame {
    /// From 0; of the source, so that frames which are left out leave a gap.
    pub number: u64,
    /// Within the stream.
    pub timestamp_ms: f64,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// One result or error a model.
    pub results: Vec<Result<InferResult>>,
}

/// Why a stream ended that has not failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EndReason {
    /// The source has no more frames.
    Eof,
    /// It was closed by the host.
    Closed,
    /// It was cancelled by the host.
    Cancelled,
    /// The worker ends, or is drained.
    Drained,
    /// A reason that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Milliseconds, or null.
pub(crate) fn from_ms<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Duration>, D::Error> {
    let ms = Option::<f64>::deserialize(from)?;
    Ok(ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()))
}
