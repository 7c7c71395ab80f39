//! Messages into packets, bytes into answers. Knows no pipe, no clock and no process.

mod decoder;
mod error;
#[cfg(test)]
mod golden_tests;
mod image;
mod options;
mod pixel_format;
mod reports;
mod request;
mod results;

pub use error::{Code, Error, ErrorAnswer, Result};
pub use image::{Image, Picture};
pub use options::{Class, ColorSpace, InferOptions, Priority, VectorFormat};
pub use pixel_format::PixelFormat;
pub use reports::{Cached, Limits, Loaded, Pong, Ready, SlotReport, Status, TensorReport};
pub use results::{
    Audio, ClassScore, Classification, Detection, Detections, Embedding, EncodedImage, InferResult,
    Landmarks, Mask, Output, Raw, Scores, Segmentation, Tensor, Text, Timings, Tokens, Transcript, Vector,
};

pub(crate) use decoder::{Answer, Decoder};
pub(crate) use image::{Lease, RegionPicture};
pub(crate) use request::{Message, Packet};
pub(crate) use results::{answer_from_json, batch_from_json, error_in};
