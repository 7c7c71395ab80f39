//! Memory that is shared with workers: slots that are leased, written in place, and free again by themselves.

mod memory;

#[cfg(target_os = "linux")]
mod memfd;
#[cfg(any(not(target_os = "linux"), test))]
#[cfg_attr(target_os = "linux", allow(dead_code))] // there its tests alone use it
mod temp_file;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use self::memory::{Memory, Piece};
use crate::protocol::{Image, PixelFormat, RegionPicture};
use crate::restore::Region;
use crate::supervisor::Supervisor;
use crate::worker::{next_region_id, Worker};
use crate::{Error, Result};

/// How large a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingOptions {
    /// How many slots there are: as many as requests are to be in flight, and one for each picture that
    /// is being written meanwhile.
    pub slots: usize,
    /// How many bytes each slot has: those of the largest picture.
    pub slot_bytes: usize,
}

/// One region of memory with equal slots, that the worker reads without anything going through its pipe.
///
/// It is attached to every process that takes the worker's place, and is detached when the ring and every
/// slot of it are dropped. A clone is another handle to the same ring.
///
/// ```no_run
/// # use inferpipe::{Config, Infer, PixelFormat, Result, RingOptions, Worker};
/// # async fn example(worker: Worker, camera: impl Fn(&mut [u8])) -> Result<()> {
/// let slot_bytes = 1920 * 1080 * 3;
/// let ring = worker.shared_ring(RingOptions { slots: 8, slot_bytes }).await?;
/// let mut slot = ring.lease().await;
/// camera(&mut slot);
/// let result = worker.infer(0, slot.image(1920, 1080, PixelFormat::Rgb)?).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedRing {
    inner: Arc<Ring>,
}

impl SharedRing {
    /// Make the memory, and tell every worker of it.
    pub(crate) async fn attach(workers: &[Worker], options: RingOptions) -> Result<Self> {
        let RingOptions { slots, slot_bytes } = options;
        let (memory, pieces) = Memory::create(slots, slot_bytes).map_err(Error::bad_request)?;
        let free = pieces.into_iter().rev().map(|piece| FreeSlot { piece, generation: 0 }).collect();
        let id = next_region_id();
        let region = Region {
            id,
            path: memory.path().into(),
            size: memory.len() as u64,
            trusted: Memory::NEEDS_TRUST,
            keep: memory,
        };
        // From here on its end detaches it, also where one worker takes it and another does not.
        let room = Arc::new(Semaphore::new(slots));
        let supervisors = workers.iter().map(|worker| Arc::clone(worker.supervisor())).collect();
        let ring = Ring { id, options, room, free: Mutex::new(free), supervisors };
        for supervisor in &ring.supervisors {
            supervisor.attach_region(region.clone()).await?;
        }
        Ok(Self { inner: Arc::new(ring) })
    }

    /// Wait for a free slot, in the order of the calls.
    pub async fn lease(&self) -> SlotMut {
        let room = Arc::clone(&self.inner.room);
        let permit = room.acquire_owned().await.expect("nobody closes it");
        self.take(permit)
    }

    /// Lease a slot if one is free now.
    ///
    /// # Errors
    /// [`Error::RingFull`] where none is.
    pub fn try_lease(&self) -> Result<SlotMut> {
        match Arc::clone(&self.inner.room).try_acquire_owned() {
            Ok(permit) => Ok(self.take(permit)),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => Err(Error::RingFull),
        }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.inner.options.slots
    }

    /// How many bytes each slot has.
    pub fn slot_bytes(&self) -> usize {
        self.inner.options.slot_bytes
    }

    /// How many slots are free now.
    pub fn free_slots(&self) -> usize {
        self.inner.room.available_permits()
    }

    fn take(&self, permit: OwnedSemaphorePermit) -> SlotMut {
        let ring = Arc::clone(&self.inner);
        let FreeSlot { piece, generation } = ring.free().pop().expect("a permit stands for a free slot");
        SlotMut { piece: Some(piece), generation: generation + 1, ring, _permit: permit }
    }
}

impl fmt::Debug for SharedRing {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "SharedRing({} of {} slots free)", self.free_slots(), self.slots())
    }
}

/// What a ring and its slots have in common. The region is detached with the last of them.
struct Ring {
    id: u32,
    options: RingOptions,
    /// One permit for each free slot.
    room: Arc<Semaphore>,
    /// The last one that became free is the next to be leased: it is the likeliest to be in a cache.
    free: Mutex<Vec<FreeSlot>>,
    /// No handles of workers: a ring keeps none alive.
    supervisors: Vec<Arc<Supervisor>>,
}

impl Ring {
    fn free(&self) -> MutexGuard<'_, Vec<FreeSlot>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for supervisor in &self.supervisors {
            supervisor.detach_region(self.id);
        }
    }
}

/// A slot that nobody has leased.
struct FreeSlot {
    piece: Piece,
    /// How often it has been leased.
    generation: u64,
}

/// A slot of a ring, leased: bytes to be written.
///
/// It is handed over by [`SlotMut::image`], and is free again when the last request with that image has had
/// its final answer, or its worker is gone. Dropped before, it is free at once. The bytes are those that the slot
/// had before; nobody clears them.
pub struct SlotMut {
    /// There until the slot is dropped.
    piece: Option<Piece>,
    generation: u64,
    ring: Arc<Ring>,
    /// Dropped after the slot is in the list of free ones.
    _permit: OwnedSemaphorePermit,
}

impl SlotMut {
    /// How often this slot has been leased, this time included.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The picture that begins with the slot's first byte, to be given to `infer`.
    ///
    /// Clones of the image are the same picture, as for several models.
    ///
    /// # Errors
    /// [`Error::BadRequest`] where it does not fit into the slot, and for [`PixelFormat::Encoded`], whose size
    /// only [`SlotMut::encoded`] knows.
    pub fn image(self, width: u32, height: u32, format: PixelFormat) -> Result<Image> {
        let size = format.bytes(width, height).ok_or_else(|| {
            Error::bad_request(format_args!("{width}x{height} {format:?} has no size of its own"))
        })?;
        self.picture(width, height, format, size)
    }

    /// The JPEG, PNG or WebP file that takes the slot's first `size` bytes.
    ///
    /// # Errors
    /// [`Error::BadRequest`] where that is nothing, or more than the slot.
    pub fn encoded(self, size: usize) -> Result<Image> {
        self.picture(0, 0, PixelFormat::Encoded, size)
    }

    fn picture(self, width: u32, height: u32, format: PixelFormat, size: usize) -> Result<Image> {
        let offset = self.piece.as_ref().map_or(0, Piece::offset) as u64;
        let fits = (1..=self.len()).contains(&size);
        let size = u32::try_from(size).ok().filter(|_| fits).ok_or_else(|| self.refused(size))?;
        let region_id = self.ring.id;
        let lease = Arc::new(self);
        Ok(Image::in_region(RegionPicture { region_id, offset, width, height, format, size, lease }))
    }

    fn refused(&self, size: usize) -> Error {
        Error::bad_request(format_args!("a picture of {size} bytes in a slot of {}", self.len()))
    }
}

impl Deref for SlotMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.piece.as_deref().unwrap_or_default()
    }
}

impl DerefMut for SlotMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.piece.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for SlotMut {
    fn drop(&mut self) {
        let generation = self.generation;
        self.ring.free().extend(self.piece.take().map(|piece| FreeSlot { piece, generation }));
    }
}

impl fmt::Debug for SlotMut {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "SlotMut({} bytes, generation {})", self.len(), self.generation)
    }
}

impl Worker {
    /// Make a ring of memory that this worker reads pictures from.
    ///
    /// # Errors
    /// [`Error::BadRequest`] where there cannot be so much memory, [`Error::Answer`] where the worker cannot
    /// read it.
    pub async fn shared_ring(&self, options: RingOptions) -> Result<SharedRing> {
        SharedRing::attach(std::slice::from_ref(self), options).await
    }
}
