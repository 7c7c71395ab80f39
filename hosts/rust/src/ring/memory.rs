//! A ring's memory: a file that a worker can open, mapped here, and cut into slots.
//!
//! This is the one place of the crate with `unsafe`, and all that it rests on is in this file.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

#[cfg(target_os = "linux")]
use super::memfd::Backing;
#[cfg(not(target_os = "linux"))]
use super::temp_file::Backing;

/// Slots begin at multiples of this, so that a picture is aligned for whatever reads it.
const PAGE: usize = 4096;

/// Mapped memory with the file behind it.
///
/// The mapping comes first: it is gone before the file is.
#[derive(Debug)]
pub(crate) struct Memory {
    map: MmapRaw,
    backing: Backing,
}

impl Memory {
    /// Whether a worker has to be told that the file never becomes shorter, since no seal says so.
    pub(crate) const NEEDS_TRUST: bool = Backing::NEEDS_TRUST;

    /// Map `slots` times `slot_bytes` bytes, all of them zero, and cut them.
    ///
    /// # Errors
    /// A number is 0 or the product too large, the system has no room, or does not allow the file.
    pub(crate) fn create(slots: usize, slot_bytes: usize) -> io::Result<(Arc<Self>, Vec<Piece>)> {
        let (stride, size) = layout(slots, slot_bytes).ok_or_else(|| impossible(slots, slot_bytes))?;
        let backing = Backing::create(size as u64)?;
        let map = MmapOptions::new().len(size).map_raw(backing.file())?;
        backing.seal()?;
        let memory = Arc::new(Self { map, backing });
        let cut = |index| Piece { memory: Arc::clone(&memory), start: index * stride, len: slot_bytes };
        let pieces = (0..slots).map(cut).collect();
        Ok((memory, pieces))
    }

    /// Where a worker finds it.
    pub(crate) fn path(&self) -> &str {
        self.backing.path()
    }

    /// How many bytes there are, in all slots and between them.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }
}

/// The bytes of one slot: owned by whoever holds this, like a `Box<[u8]>`.
///
/// It is made by [`Memory::create`] alone, once for each slot, and is not `Clone`.
#[derive(Debug)]
pub(crate) struct Piece {
    memory: Arc<Memory>,
    start: usize,
    len: usize,
}

impl Piece {
    /// Where it begins in the memory.
    pub(crate) fn offset(&self) -> usize {
        self.start
    }
}

impl Deref for Piece {
    type Target = [u8];

    #[allow(unsafe_code)]
    fn deref(&self) -> &[u8] {
        // SAFETY: `create` cuts pieces that lie within the mapping and do not overlap, one for each
        // slot, so the only slices of these bytes are borrowed from this piece. The mapping lives as
        // long as `memory`, was filled with zeros by the system, and cannot lose pages, as the file
        // is sealed against it, or lies in a folder of ours. Workers map it to read, not to write.
        unsafe { std::slice::from_raw_parts(self.memory.map.as_ptr().add(self.start), self.len) }
    }
}

impl DerefMut for Piece {
    #[allow(unsafe_code)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; the mapping is writable, and `&mut self` is the only borrow of the piece.
        unsafe { std::slice::from_raw_parts_mut(self.memory.map.as_mut_ptr().add(self.start), self.len) }
    }
}

/// From one slot to the next, and all of them, in bytes; `None` where that is nothing, or no slice.
fn layout(slots: usize, slot_bytes: usize) -> Option<(usize, usize)> {
    let stride = slot_bytes.checked_next_multiple_of(PAGE)?;
    let size = stride.checked_mul(slots)?;
    (0 < size && size <= isize::MAX as usize).then_some((stride, size))
}

fn impossible(slots: usize, slot_bytes: usize) -> io::Error {
    let text = format!("a ring of {slots} slots with {slot_bytes} bytes each cannot be");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_apart_and_hold_what_is_written_into_them() {
        let (memory, mut pieces) = Memory::create(3, 5000).unwrap();
        assert_eq!(memory.len(), 3 * 8192);
        for (number, piece) in (1u8..).zip(&mut pieces) {
            assert!(piece.iter().all(|&byte| byte == 0));
            piece.fill(number);
        }
        for (number, piece) in (1u8..).zip(&pieces) {
            assert_eq!(piece.len(), 5000);
            assert!(piece.iter().all(|&byte| byte == number));
        }
    }

    #[test]
    fn pieces_begin_at_pages() {
        let (_memory, pieces) = Memory::create(4, 1).unwrap();
        let offsets: Vec<_> = pieces.iter().map(Piece::offset).collect();
        assert_eq!(offsets, [0, PAGE, 2 * PAGE, 3 * PAGE]);
        assert!(pieces.iter().all(|piece| piece.as_ptr() as usize % PAGE == 0));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (slots, slot_bytes) in [(0, 1), (1, 0), (usize::MAX, 1), (1, usize::MAX), (1 << 40, 1 << 40)] {
            let error = Memory::create(slots, slot_bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{slots} x {slot_bytes}");
        }
    }

    #[test]
    fn another_process_reads_what_is_written_here() {
        let (memory, mut pieces) = Memory::create(2, PAGE).unwrap();
        pieces[1].fill(7);
        let seen = std::fs::read(memory.path()).unwrap();
        assert_eq!(seen[..PAGE], [0; PAGE]);
        assert_eq!(seen[PAGE..], [7; PAGE]);
    }

    #[test]
    fn pieces_are_written_by_many_threads_at_once() {
        let (memory, pieces) = Memory::create(16, 100_000).unwrap();
        std::thread::scope(|scope| {
            for (number, mut piece) in (1u8..).zip(pieces) {
                scope.spawn(move || piece.fill(number));
            }
        });
        let seen = std::fs::read(memory.path()).unwrap();
        for (number, piece) in (1u8..).zip(seen.chunks(memory.len() / 16)) {
            assert!(piece[..100_000].iter().all(|&byte| byte == number));
        }
    }
}
