//! What a worker tells of itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answer to the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Ready {
    /// How many models serve.
    pub models: u32,
    /// How many were configured.
    pub total: u32,
    /// Milliseconds from the start of the program to this answer.
    pub startup_ms: f64,
    /// As configured.
    pub runtime: String,
    /// `concurrency` in effect.
    pub workers: u32,
    /// The highest version of the protocol that the worker speaks.
    pub protocol: u32,
    /// What works in this process.
    pub features: Vec<String>,
    /// Unknown configuration keys, and settings that were overruled.
    pub warnings: Vec<String>,
    /// Those in effect.
    pub limits: Limits,
    /// One a model.
    pub slots: Vec<SlotReport>,
}

impl Ready {
    /// Whether something works in this process.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }
}

/// The worker's limits in effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Limits {
    /// Longest packet.
    pub max_packet_bytes: u64,
    /// Data requests in flight.
    pub max_in_flight: u64,
    /// Payload bytes in flight.
    pub max_in_flight_bytes: u64,
    /// Largest picture.
    pub max_pixels: u64,
    /// The budget of cached frames.
    pub frame_cache_bytes: Option<u64>,
    /// The budget of models, if there is one.
    pub model_memory_bytes: Option<u64>,
    /// Open streams; `None`: the worker has none.
    pub max_streams: Option<u64>,
    /// How many bytes a stream may be sent ahead.
    pub stream_credit_bytes: Option<u64>,
    /// What one stream of the type "push" may keep on disk.
    pub stream_buffer_bytes: Option<u64>,
    /// "wait" or "reject".
    pub overload: String,
    /// How long the end waits for what is in flight.
    pub drain_timeout_ms: f64,
}

impl Default for Limits {
    /// Those that the protocol names.
    fn default() -> Self {
        Self {
            max_packet_bytes: 256 << 20,
            max_in_flight: 256,
            max_in_flight_bytes: 1 << 30,
            max_pixels: 64 << 20,
            frame_cache_bytes: None,
            model_memory_bytes: None,
            max_streams: None,
            stream_credit_bytes: None,
            stream_buffer_bytes: None,
            overload: "wait".into(),
            drain_timeout_ms: 10_000.0,
        }
    }
}

/// What a slot holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SlotReport {
    /// Its number.
    pub index: u32,
    /// The model as configured.
    pub path: Option<String>,
    /// Whether a model serves.
    pub loaded: bool,
    /// Why none does.
    pub error: Option<String>,
    /// "empty", "loading", "ready" or "stuck".
    pub state: Option<String>,
    /// Of "stuck" and "empty": why.
    pub reason: Option<String>,
    /// In effect.
    pub runtime: Option<String>,
    /// Its name.
    pub postprocessor: Option<String>,
    /// In effect.
    pub device: Option<String>,
    /// Why the device is not the one asked for.
    pub device_fallback: Option<String>,
    /// The model's inputs.
    pub inputs: Vec<TensorReport>,
    /// The model's outputs.
    pub outputs: Vec<TensorReport>,
    /// Class names by class id.
    pub labels: Value,
    /// As "yolov8".
    pub family: Option<String>,
    /// By what the family was told.
    pub family_reason: Option<String>,
    /// Most items of one native call.
    pub max_batch_size: Option<u32>,
    /// How long the load took.
    pub load_ms: Option<f64>,
    /// How long the first predict took after it.
    pub warmup_ms: Option<f64>,
    /// Growth of the process's memory over the load.
    pub memory_bytes: Option<i64>,
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TensorReport {
    /// Its name.
    pub name: String,
    /// Its axes; -1 for an open one.
    pub shape: Vec<i64>,
    /// Of the elements, as "float32".
    pub dtype: String,
}

/// The answer to `load` and `replace`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Loaded {
    /// The slot's number.
    pub index: u32,
    /// How long it took.
    pub load_ms: f64,
    /// What the slot holds now.
    pub slot: SlotReport,
    /// Keys that nobody reads, and settings that were overruled.
    pub warnings: Vec<String>,
}

/// The answer to `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Status {
    /// One a slot.
    pub slots: Vec<SlotReport>,
}

/// The answer to `cache_frame`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Cached {
    /// Its id.
    pub frame_id: u32,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// The answer to `ping`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Pong {
    /// For how long the worker has been running.
    pub uptime_ms: f64,
}
