//! What one request wants otherwise than its slot does.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What one request wants otherwise than its slot does. `None` and `false` are the worker's defaults.
///
/// The first part are the wire's own options, the last three (`cancel`, `timeout`, `retries`) the library's.
///
/// ```
/// # use inferpipe::InferOptions;
/// let options = InferOptions { confidence: Some(0.5), retries: 1, ..InferOptions::default() };
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InferOptions {
    /// Lowest score, 0 to 1; by default the slot's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Overlap above which of two boxes the weaker one goes, 0 to 1; by default 0.45.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iou: Option<f64>,
    /// Class ids or names to report; by default all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<Class>>,
    /// 1 to 10,000; by default 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_detections: Option<u32>,
    /// Suppress across classes instead of within each.
    #[serde(default, skip_serializing_if = "is_false")]
    pub agnostic: bool,
    /// x, y, width, height in source pixels; by default the whole picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roi: Option<[u32; 4]>,
    /// Turn an encoded picture as its EXIF orientation says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exif: bool,
    /// The matrix of NV12 and I420 pictures; by default BT.601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_space: Option<ColorSpace>,
    /// Milliseconds from arrival in the worker. Passed before predict starts, the request is
    /// `deadline_exceeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<f64>,
    /// By default normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Which camera it is from, at most 255 characters: sources take turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Older requests of the same source and model that have not reached predict are `superseded`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub supersede: bool,
    /// So many requests for this model are coming.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_hint: Option<u16>,
    /// Milliseconds for which `batch_hint` holds a request back at most; by default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_hint_ms: Option<f64>,
    /// How vectors of an embedding are sent; by default as numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector_format: Option<VectorFormat>,

    /// Cancels the call: it ends with [`Code::Cancelled`](crate::Code::Cancelled) at once, as if its future had
    /// been dropped.
    #[serde(skip)]
    pub cancel: Option<CancellationToken>,
    /// How long the call may take, waiting for room and for a worker included; then it ends with
    /// [`Code::TimedOut`](crate::Code::TimedOut).
    #[serde(skip)]
    pub timeout: Option<Duration>,
    /// How often the request is sent again, to the next worker, when its worker dies. Only a death is
    /// retried, never an answer.
    #[serde(skip)]
    pub retries: u32,
}

impl InferOptions {
    /// The wire's options as JSON, without those at their default; empty where all are.
    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        Ok(if json == b"{}" { Vec::new() } else { json })
    }
}

/// A class of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Class {
    /// By its number.
    Id(u32),
    /// By its name.
    Name(String),
}

impl From<u32> for Class {
    fn from(id: u32) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for Class {
    fn from(name: &str) -> Self {
        Self::Name(name.into())
    }
}

/// The matrix by which NV12 and I420 pictures become RGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorSpace {
    /// ITU-R BT.601: the worker's default.
    Bt601,
    /// ITU-R BT.709.
    Bt709,
}

/// What waits for one slot goes by priority, strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// The worker's default.
    Normal,
    /// When nothing else waits.
    Low,
}

/// How vectors of an embedding are sent, if not as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum VectorFormat {
    /// As little-endian float32 in base64.
    Base64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands over a reference
fn is_false(value: &bool) -> bool {
    !value
}
