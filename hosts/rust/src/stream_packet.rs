//! Frames of a stream of packets: the header before each one's data.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::protocol::{Error, Result};

/// What a frame's data are; another enumeration than [`PixelFormat`](crate::PixelFormat).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum FrameFormat {
    /// Red, green, blue; rows packed.
    Rgb = 0,
    /// Blue, green, red; rows packed.
    Bgr = 1,
    /// Annex B: one picture, with its parameter sets before a key frame.
    H264 = 2,
    /// One frame.
    Vp8 = 3,
    /// One file.
    Jpeg = 4,
}

/// What is said of a frame of a "packets" stream before its data: 17 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// When the frame was taken, on a clock of the host's own.
    pub timestamp_ms: u64,
    /// In pixels; 0 where the data tell it themselves (H264, VP8, JPEG).
    pub width: u32,
    /// The same.
    pub height: u32,
    /// What the data are.
    pub format: FrameFormat,
}

impl FrameHeader {
    /// How many bytes it has.
    pub const BYTES: usize = 17;

    /// The header of an encoded frame, which tells its size itself.
    pub fn encoded(format: FrameFormat, timestamp_ms: u64) -> Self {
        Self { timestamp_ms, width: 0, height: 0, format }
    }

    /// The header as it is sent.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(Self::BYTES);
        bytes.put_u64_le(self.timestamp_ms);
        bytes.put_u32_le(self.width);
        bytes.put_u32_le(self.height);
        bytes.put_u8(self.format as u8);
        bytes.freeze()
    }
}

/// A frame on its way into a stream: its header, and its data behind that.
pub(crate) struct FramePacket {
    pub(crate) head: Bytes,
    pub(crate) data: Bytes,
    /// Whether the data may go in several packets: those of RGB and BGR, whose length the header tells.
    pub(crate) cuttable: bool,
}

impl FramePacket {
    /// # Errors
    /// `bad_request` where the data are not as long as the header says.
    pub(crate) fn new(header: &FrameHeader, data: Bytes) -> Result<Self> {
        Self::of(header.to_bytes(), data)
    }

    /// A frame that carries its header already.
    ///
    /// # Errors
    /// `bad_request` where it is shorter than a header, or not as long as that says.
    pub(crate) fn with_header(mut frame: Bytes) -> Result<Self> {
        let (length, header) = (frame.len(), FrameHeader::BYTES);
        if length < header {
            let text = format_args!("a frame of {length} bytes is shorter than its header of {header}");
            return Err(Error::bad_request(text));
        }
        let head = frame.split_to(header);
        Self::of(head, frame)
    }

    /// Of a format that is not known here the worker says what it thinks.
    fn of(head: Bytes, data: Bytes) -> Result<Self> {
        let mut fields = &head[8..];
        let (width, height, format) = (fields.get_u32_le(), fields.get_u32_le(), fields.get_u8());
        let cuttable = format == FrameFormat::Rgb as u8 || format == FrameFormat::Bgr as u8;
        let wanted = u128::from(width) * u128::from(height) * 3;
        if cuttable && data.len() as u128 != wanted {
            let text =
                format_args!("a frame of {width}x{height} pixels has {wanted} bytes, got {}", data.len());
            return Err(Error::bad_request(text));
        }
        Ok(Self { head, data, cuttable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;

    #[test]
    fn a_header_is_written_as_the_protocol_says() {
        let header =
            FrameHeader { timestamp_ms: 0x0102_0304, width: 640, height: 480, format: FrameFormat::Vp8 };
        let wanted: &[u8] = &[4, 3, 2, 1, 0, 0, 0, 0, 0x80, 2, 0, 0, 0xe0, 1, 0, 0, 3];
        assert_eq!(header.to_bytes(), wanted);
        let jpeg = FrameHeader::encoded(FrameFormat::Jpeg, 1).to_bytes();
        assert_eq!((jpeg.len(), jpeg[16]), (FrameHeader::BYTES, 4));
    }

    #[test]
    fn raw_pixels_are_as_many_as_their_header_says() {
        let header = FrameHeader { timestamp_ms: 0, width: 4, height: 2, format: FrameFormat::Bgr };
        let frame = FramePacket::new(&header, vec![0; 24].into()).unwrap();
        assert!(frame.cuttable && frame.head.len() == FrameHeader::BYTES);
        let whole = [&header.to_bytes()[..], &[0; 24]].concat();
        assert!(FramePacket::with_header(whole.into()).unwrap().cuttable);
        let jpeg = FrameHeader::encoded(FrameFormat::Jpeg, 1);
        assert!(!FramePacket::new(&jpeg, vec![0; 5].into()).unwrap().cuttable);
        for (given, named) in [(23, "got 23"), (0, "got 0"), (25, "4x2")] {
            let error = FramePacket::new(&header, vec![0; given].into()).err().unwrap();
            assert_eq!(error.code(), Code::BadRequest);
            assert!(error.to_string().contains(named), "{error}");
        }
        assert!(FramePacket::with_header(vec![0; 16].into()).is_err());
    }
}
