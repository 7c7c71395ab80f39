//! What a model is run on.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::PixelFormat;

/// Something that is dropped when nobody reads the pixels of a request any longer.
///
/// It travels with a request: every attempt holds a clone, from the moment at which it is queued to its
/// final answer or the end of its worker.
pub(crate) type Lease = Arc<dyn Any + Send + Sync>;

/// What a model is run on: a picture, or where the worker finds one.
///
/// Pixels are `Bytes`: they are not copied on their way, and cannot change while a request is open. A clone
/// is another handle to the same pixels.
#[derive(Clone)]
pub struct Image {
    pub(crate) source: ImageSource,
}

/// The kinds of [`Image`].
#[derive(Clone)]
pub(crate) enum ImageSource {
    /// An encoded file, sent as INFER_JPEG.
    Encoded(Bytes),
    /// Pixels, sent as INFER_RAW.
    Raw(Picture),
    /// A frame that the worker keeps.
    Frame(u32),
    /// A picture in a region of shared memory.
    Shared(RegionPicture),
}

impl Image {
    /// A JPEG, PNG or WebP file.
    pub fn encoded(file: impl Into<Bytes>) -> Self {
        ImageSource::Encoded(file.into()).into()
    }

    /// Raw pixels, see [`PixelFormat`] for how many bytes there must be.
    pub fn raw(pixels: impl Into<Bytes>, width: u32, height: u32, format: PixelFormat) -> Self {
        ImageSource::Raw(Picture { width, height, format, data: pixels.into() }).into()
    }

    /// A frame that [`Worker::cache_frame`](crate::Worker::cache_frame) has given to the worker.
    pub fn frame(frame_id: u32) -> Self {
        ImageSource::Frame(frame_id).into()
    }

    /// A picture in a region that the worker has been told of.
    pub(crate) fn in_region(picture: RegionPicture) -> Self {
        ImageSource::Shared(picture).into()
    }

    /// The frame's id, if it is a cached frame.
    pub(crate) fn frame_id(&self) -> Option<u32> {
        match self.source {
            ImageSource::Frame(frame_id) => Some(frame_id),
            _ => None,
        }
    }

    /// What has to be kept while the worker may read the pixels.
    pub(crate) fn lease(&self) -> Option<Lease> {
        match &self.source {
            ImageSource::Shared(picture) => Some(picture.lease.clone()),
            _ => None,
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            ImageSource::Encoded(file) => write!(to, "Image(a file of {} bytes)", file.len()),
            ImageSource::Raw(picture) => write!(to, "Image({picture:?})"),
            ImageSource::Frame(frame_id) => write!(to, "Image(frame {frame_id})"),
            ImageSource::Shared(picture) => write!(to, "Image({picture:?})"),
        }
    }
}

impl From<ImageSource> for Image {
    fn from(source: ImageSource) -> Self {
        Self { source }
    }
}

/// A picture of a batch or of the frame cache: its pixels, or an encoded file.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// In pixels; 0 is allowed for [`PixelFormat::Encoded`].
    pub width: u32,
    /// In pixels; 0 is allowed for [`PixelFormat::Encoded`].
    pub height: u32,
    /// How `data` is to be read.
    pub format: PixelFormat,
    /// Exactly the pixels, or the file.
    pub data: Bytes,
}

impl Picture {
    /// A JPEG, PNG or WebP file.
    pub fn encoded(file: impl Into<Bytes>) -> Self {
        Self { width: 0, height: 0, format: PixelFormat::Encoded, data: file.into() }
    }

    /// Raw pixels.
    pub fn raw(pixels: impl Into<Bytes>, width: u32, height: u32, format: PixelFormat) -> Self {
        Self { width, height, format, data: pixels.into() }
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, height, format, data } = self;
        write!(to, "Picture({width}x{height} {format:?}, {} bytes)", data.len())
    }
}

/// A picture that lies in a region of shared memory.
#[derive(Clone)]
pub(crate) struct RegionPicture {
    pub(crate) region_id: u32,
    /// Where it begins in the region, in bytes.
    pub(crate) offset: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) format: PixelFormat,
    /// The bytes that it takes in its region.
    pub(crate) size: u32,
    /// Dropped when the pixels are free again.
    pub(crate) lease: Lease,
}

impl fmt::Debug for RegionPicture {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region_id, offset, width, height, format, size, .. } = self;
        write!(to, "RegionPicture(region {region_id} at {offset}, {width}x{height} {format:?}, {size} bytes)")
    }
}
