//! Streams from the real worker.
#![cfg(unix)]

mod common;

#[path = "streams/lives.rs"]
mod lives;
#[path = "streams/sources.rs"]
mod sources;
#[path = "streams/told.rs"]
mod told;
