//! Small pictures that carry a number, and what `fake:echo` reads in them.
#![allow(dead_code)] // each test uses its part

use inferpipe::{Config, Image, InferResult, PixelFormat};

use crate::common;

/// A double of a model: answers with the number that a picture carries.
pub(crate) const ECHO: &str = "fake:echo?size=64";

/// Width and height of the pictures.
pub(crate) const SIDE: u32 = 64;

/// How many bytes a picture has.
pub(crate) const RGB_BYTES: usize = (SIDE * SIDE * 3) as usize;

/// A real worker with one fake model; `None` where it cannot run.
pub(crate) fn config(model: &str) -> Option<Config> {
    common::fakes(&[model])
}

/// Pixels that carry a number.
pub(crate) fn pixels(id: u16) -> Vec<u8> {
    common::numbered_picture(id, SIDE as usize, SIDE as usize)
}

/// A picture that carries a number.
pub(crate) fn picture(id: u16) -> Image {
    Image::raw(pixels(id), SIDE, SIDE, PixelFormat::Rgb)
}

/// The number that `fake:echo` has read.
pub(crate) fn echoed_id(result: &InferResult) -> Option<u16> {
    result.detections().first()?.class_id.and_then(|id| id.try_into().ok())
}

/// End a process as the system's memory killer does.
#[cfg(unix)]
pub(crate) fn kill(pid: u32) {
    common::signal(pid, rustix::process::Signal::KILL);
}
