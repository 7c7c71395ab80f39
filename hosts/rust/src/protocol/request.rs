//! Messages into packets: a header made here, and the caller's own bytes behind it.

use bytes::{BufMut, Bytes, BytesMut};

use super::image::{Image, ImageSource, Picture};
use super::{Error, Result};

const OPTIONS_FLAG: u8 = 0x80;
const MAX_BATCH: usize = u8::MAX as usize;

/// Message types, as on the wire.
mod types {
    pub(super) const COMMAND: u8 = 0x00;
    pub(super) const INFER_JPEG: u8 = 0x01;
    pub(super) const INFER_RAW: u8 = 0x02;
    pub(super) const INFER_BATCH: u8 = 0x03;
    pub(super) const CACHE_FRAME: u8 = 0x04;
    pub(super) const INFER_CACHED: u8 = 0x05;
    pub(super) const INFER_SHARED: u8 = 0x06;
    pub(super) const TASK: u8 = 0x07;
    pub(super) const STREAM_DATA: u8 = 0x08;
    pub(super) const STREAM_END: u8 = 0x09;
}

/// What a host sends.
#[derive(Clone)]
pub(crate) enum Message {
    /// A JSON object.
    Command(Bytes),
    /// INFER_JPEG, INFER_RAW, INFER_CACHED or INFER_SHARED, as the image is.
    Infer { model: u8, image: Image },
    /// INFER_BATCH.
    Batch { model: u8, pictures: Vec<Picture> },
    /// CACHE_FRAME.
    CacheFrame { frame_id: u32, picture: Picture },
    /// TASK: `params` is a JSON object.
    Task { model: u8, params: Bytes, attachments: Vec<Bytes> },
    /// STREAM_DATA: `head` and `data` behind one another.
    StreamData { stream_id: u32, head: Bytes, data: Bytes },
    /// STREAM_END.
    StreamEnd { stream_id: u32 },
}

/// A packet: its bytes in parts, in order. Parts of more than a header are the caller's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) parts: Vec<Bytes>,
    /// The payload's length, options included: what the worker's limits count.
    pub(crate) payload_bytes: usize,
}

impl Message {
    /// The message as a packet.
    ///
    /// `options` is a JSON object; empty for none.
    ///
    /// # Errors
    /// `bad_request` where a length does not fit into its field.
    pub(crate) fn encode(&self, id: u32, options: &[u8]) -> Result<Packet> {
        let mut payload = Payload::default();
        let kind = match self {
            Self::Command(body) => {
                payload.bytes(body);
                types::COMMAND
            }
            Self::Infer { model, image } => encode_image(&mut payload, *model, image),
            Self::Batch { model, pictures } => encode_batch(&mut payload, *model, pictures)?,
            Self::CacheFrame { frame_id, picture } => {
                payload.head.put_u32_le(*frame_id);
                payload.picture_head(picture);
                payload.bytes(&picture.data);
                types::CACHE_FRAME
            }
            Self::Task { model, params, attachments } => {
                encode_task(&mut payload, *model, params, attachments)?
            }
            Self::StreamData { stream_id, head, data } => {
                payload.head.put_u32_le(*stream_id);
                payload.head.put_slice(head);
                payload.bytes(data);
                types::STREAM_DATA
            }
            Self::StreamEnd { stream_id } => {
                payload.head.put_u32_le(*stream_id);
                types::STREAM_END
            }
        };
        payload.into_packet(id, kind, options)
    }
}

fn encode_image(payload: &mut Payload, model: u8, image: &Image) -> u8 {
    payload.head.put_u8(model);
    match &image.source {
        ImageSource::Encoded(file) => {
            payload.bytes(file);
            types::INFER_JPEG
        }
        ImageSource::Raw(picture) => {
            payload.picture_head(picture);
            payload.bytes(&picture.data);
            types::INFER_RAW
        }
        ImageSource::Frame(frame_id) => {
            payload.head.put_u32_le(*frame_id);
            types::INFER_CACHED
        }
        ImageSource::Shared(picture) => {
            payload.head.put_u32_le(picture.region_id);
            payload.head.put_u64_le(picture.offset);
            payload.head.put_u32_le(picture.width);
            payload.head.put_u32_le(picture.height);
            payload.head.put_u8(picture.format.number());
            payload.head.put_u32_le(picture.size);
            types::INFER_SHARED
        }
    }
}

fn encode_batch(payload: &mut Payload, model: u8, pictures: &[Picture]) -> Result<u8> {
    let count = u8::try_from(pictures.len())
        .map_err(|_| Error::bad_request(format_args!("a batch has at most {MAX_BATCH} pictures")))?;
    payload.head.put_u8(model);
    payload.head.put_u8(count);
    for picture in pictures {
        payload.picture_head(picture);
        payload.head.put_u32_le(length_of(&picture.data, "a picture")?);
        payload.bytes(&picture.data);
    }
    Ok(types::INFER_BATCH)
}

fn encode_task(payload: &mut Payload, model: u8, params: &Bytes, attachments: &[Bytes]) -> Result<u8> {
    payload.head.put_u8(model);
    payload.head.put_u32_le(length_of(params, "params")?);
    payload.bytes(params);
    for attachment in attachments {
        payload.head.put_u32_le(length_of(attachment, "an attachment")?);
        payload.bytes(attachment);
    }
    Ok(types::TASK)
}

fn length_of(bytes: &Bytes, what: &str) -> Result<u32> {
    u32::try_from(bytes.len())
        .map_err(|_| Error::bad_request(format_args!("{what} of {} bytes", bytes.len())))
}

/// A payload that is being put together.
#[derive(Default)]
struct Payload {
    parts: Vec<Bytes>,
    /// What has been written since the last part.
    head: BytesMut,
}

impl Payload {
    fn picture_head(&mut self, picture: &Picture) {
        self.head.put_u32_le(picture.width);
        self.head.put_u32_le(picture.height);
        self.head.put_u8(picture.format.number());
    }

    /// Appends the caller's bytes, which are not copied.
    fn bytes(&mut self, bytes: &Bytes) {
        if !self.head.is_empty() {
            self.parts.push(self.head.split().freeze());
        }
        if !bytes.is_empty() {
            self.parts.push(bytes.clone());
        }
    }

    fn into_packet(mut self, id: u32, kind: u8, options: &[u8]) -> Result<Packet> {
        self.bytes(&Bytes::new());
        let own: usize = self.parts.iter().map(Bytes::len).sum();
        let prefix = if options.is_empty() { 0 } else { 2 + options.len() };
        let payload_bytes = prefix + own;
        let length = u32::try_from(5 + payload_bytes)
            .map_err(|_| Error::bad_request(format_args!("a packet of {payload_bytes} bytes")))?;
        let mut head = BytesMut::with_capacity(9 + prefix);
        head.put_u32_le(length);
        head.put_u32_le(id);
        if options.is_empty() {
            head.put_u8(kind);
        } else {
            let options_length = u16::try_from(options.len())
                .map_err(|_| Error::bad_request(format_args!("options of {} bytes", options.len())))?;
            head.put_u8(kind | OPTIONS_FLAG);
            head.put_u16_le(options_length);
            head.put_slice(options);
        }
        let mut parts = Vec::with_capacity(1 + self.parts.len());
        parts.push(head.freeze());
        parts.append(&mut self.parts);
        Ok(Packet { parts, payload_bytes })
    }
}
