//! How pictures come to the worker.

use bytes::Bytes;
use inferpipe::{CacheOptions, Image, Picture, PixelFormat, RingOptions, SharedRing, Worker};
use serde::Deserialize;

use crate::pictures::{draw_id, jpeg, read_id, rgb, rgb_bytes};
use crate::Result;

/// How pictures come to the worker.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Pixels through the pipe.
    Raw,
    /// Pixels that are copied into a slot of a ring for each request.
    Shared,
    /// Pixels that were written into the slots of a ring before.
    InPlace,
    /// Frames that the worker keeps.
    Cached,
    /// Files through the pipe.
    Jpeg,
}

/// Of what size pictures are, and how many differ.
#[derive(Clone, Copy)]
pub(crate) struct Pictures {
    pub width: u32,
    pub height: u32,
    pub count: u16,
}

impl Pictures {
    fn all(self) -> Vec<Bytes> {
        (0..self.count).map(|id| rgb(id, self.width, self.height).into()).collect()
    }
}

/// What makes the image of each request.
pub(crate) struct Inputs {
    source: Source,
    pictures: Pictures,
}

enum Source {
    Raw(Vec<Bytes>),
    Shared(SharedRing, Vec<Bytes>),
    InPlace(SharedRing),
    Cached,
    Jpeg(Vec<Bytes>),
}

impl Inputs {
    /// Draw the pictures, and give the worker those that it has beforehand.
    pub(crate) async fn prepare(
        worker: &Worker,
        kind: Kind,
        pictures: Pictures,
        in_flight: usize,
    ) -> Result<Self> {
        let Pictures { width, height, count } = pictures;
        let source = match kind {
            Kind::Raw => Source::Raw(pictures.all()),
            Kind::Shared => Source::Shared(ring(worker, pictures, in_flight).await?, pictures.all()),
            Kind::InPlace => {
                let ring = ring(worker, pictures, in_flight).await?;
                draw_slots(&ring, pictures)?;
                Source::InPlace(ring)
            }
            Kind::Cached => {
                for (id, pixels) in (0..).zip(pictures.all()) {
                    let picture = Picture::raw(pixels, width, height, PixelFormat::Rgb);
                    worker.cache_frame(id, picture, CacheOptions::default()).await?;
                }
                Source::Cached
            }
            Kind::Jpeg => {
                Source::Jpeg((0..count).map(|id| Ok(jpeg(id, width, height)?.into())).collect::<Result<_>>()?)
            }
        };
        Ok(Self { source, pictures })
    }

    /// Return the image of a request, and the number that it carries.
    pub(crate) async fn next(&self, number: u64) -> Result<(Image, u16)> {
        let Pictures { width, height, count } = self.pictures;
        let id = (number % u64::from(count)) as u16;
        let place = usize::from(id);
        let image = match &self.source {
            Source::Raw(pictures) => Image::raw(pictures[place].clone(), width, height, PixelFormat::Rgb),
            Source::Shared(ring, pictures) => {
                let mut slot = ring.lease().await;
                slot.copy_from_slice(&pictures[place]);
                slot.image(width, height, PixelFormat::Rgb)?
            }
            Source::InPlace(ring) => {
                let slot = ring.lease().await;
                let drawn = read_id(&slot, width, height);
                return Ok((slot.image(width, height, PixelFormat::Rgb)?, drawn));
            }
            Source::Cached => Image::frame(u32::from(id)),
            Source::Jpeg(files) => Image::encoded(files[place].clone()),
        };
        Ok((image, id))
    }
}

/// As many slots as requests: a slot is written, and then in flight.
async fn ring(worker: &Worker, pictures: Pictures, slots: usize) -> Result<SharedRing> {
    let slot_bytes = rgb_bytes(pictures.width, pictures.height);
    Ok(worker.shared_ring(RingOptions { slots, slot_bytes }).await?)
}

fn draw_slots(ring: &SharedRing, pictures: Pictures) -> Result<()> {
    let mut slots = (0..ring.slots()).map(|_| ring.try_lease()).collect::<inferpipe::Result<Vec<_>>>()?;
    for (id, slot) in (0..).zip(&mut slots) {
        draw_id(id, pictures.width, pictures.height, slot);
    }
    Ok(())
}
