#![doc = include_str!("../README.md")]
//!
//! # Layout
//! - `protocol`: messages into packets, bytes into answers; typed results and errors
//! - `connection`: one worker's pipes: ids, what is open, back-pressure, cancellation, answers in several parts
//! - `process`: spawns, keeps the last lines of stderr, ends and reaps
//! - `generation`: a process with its connection, from handshake to end: heartbeat, watchdog, drain
//! - `supervisor`: which generation serves; restart, restore, recycle
//! - `worker`, `pool`, `source`, `ring`, `task`, `stream`: what a user sees
//!
//! Each looks downward only.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod answers;
mod backoff;
mod calls;
mod commands;
mod config;
mod connection;
mod death;
mod event;
mod generation;
mod infer;
mod keeper;
mod pool;
mod process;
mod protocol;
mod recycle;
mod restore;
mod ring;
mod source;
mod stream;
mod stream_event;
mod stream_input;
mod stream_packet;
mod stream_source;
mod stream_told;
mod supervisor;
mod task;
mod watchdog;
mod worker;

pub use config::{Config, ModelConfig, Restart};
pub use death::{Death, Reason};
pub use event::Event;
pub use infer::{CacheOptions, Infer};
pub use pool::WorkerPool;
pub use protocol::{
    Audio, Cached, Class, ClassScore, Classification, Code, ColorSpace, Detection, Detections, Embedding,
    EncodedImage, Error, ErrorAnswer, Image, InferOptions, InferResult, Landmarks, Limits, Loaded, Mask,
    Output, Picture, PixelFormat, Pong, Priority, Raw, Ready, Result, Scores, Segmentation, SlotReport,
    Status, Tensor, TensorReport, Text, Timings, Tokens, Transcript, Vector, VectorFormat,
};
pub use ring::{RingOptions, SharedRing, SlotMut};
pub use source::Source;
pub use stream::InferStream;
pub use stream_event::{EndReason, Frame, Started, StreamEvent};
pub use stream_input::StreamInput;
pub use stream_packet::{FrameFormat, FrameHeader};
pub use stream_source::{DropPolicy, StreamOptions, StreamSource};
pub use task::{Done, TaskEvent, TaskStream};
pub use tokio_util::sync::CancellationToken;
pub use worker::Worker;
