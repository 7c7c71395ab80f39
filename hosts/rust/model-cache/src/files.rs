//! A file within the root, read chunk by chunk. Everything here blocks.
//!
//! The root is held open and names are resolved beneath it by `cap-std`: on Linux by one
//! `openat2` with `RESOLVE_BENEATH`, elsewhere component by component. There is no moment
//! between a check and the opening in which a link could be put in the way.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::contract::ModelFileChunk;
use crate::paths::ModelPath;
use crate::refusal::Refusal;

/// The served folder cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the root {path:?} cannot be opened as a folder")]
pub struct RootError {
    /// The folder as it was given.
    path: String,
    /// The system's reason.
    source: io::Error,
}

/// The served folder.
#[derive(Debug)]
pub struct Root {
    /// Held open: what is renamed over it later is not served.
    dir: Dir,
}

impl Root {
    /// Opens the folder that everything is served from.
    ///
    /// # Errors
    ///
    /// When there is no such folder, or it may not be read.
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let dir = Dir::open_ambient_dir(path, ambient_authority());
        dir.map(|dir| Self { dir }).map_err(|source| RootError { path: path.display().to_string(), source })
    }

    /// Opens one file of a model for reading from its first byte.
    ///
    /// # Errors
    ///
    /// Whatever keeps the file from being served, as the client is to be told.
    pub fn open_file(&self, path: &ModelPath, chunk_bytes: usize) -> Result<FileReader, Refusal> {
        let opened = self.dir.open_with(path.relative(), &read_only());
        let file = opened.map_err(|error| self.explain(path, error))?.into_std();
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let kind = if metadata.is_dir() { "a folder" } else { "a pipe or device" };
            return Err(not_a_file(path, kind));
        }
        Ok(FileReader { version: Version::of(&file)?, file, read: 0, chunk_bytes })
    }

    /// Why a file could not be opened.
    fn explain(&self, path: &ModelPath, error: io::Error) -> Refusal {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => self.missing(path),
            // An error without a number is cap-std's own: the name leads out.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
                Refusal::LeadsOut(path.file().to_owned())
            }
            // Windows opens no folder as a file.
            io::ErrorKind::PermissionDenied if self.is_dir(&path.relative()) => not_a_file(path, "a folder"),
            io::ErrorKind::PermissionDenied => Refusal::Denied(path.file().to_owned()),
            _ if is_link_loop(&error) => not_a_file(path, "a link that goes in circles"),
            _ if is_socket(&error) => not_a_file(path, "a socket"),
            _ => Refusal::Io(error),
        }
    }

    /// Tells an unknown model from an unknown file.
    fn missing(&self, path: &ModelPath) -> Refusal {
        let model = path.model().to_owned();
        if !self.is_dir(Path::new(&model)) {
            return Refusal::NoModel(model);
        }
        let file = path.file().to_owned();
        Refusal::NoFile { model, file }
    }

    /// Whether a name within the root is a folder.
    fn is_dir(&self, relative: &Path) -> bool {
        self.dir.metadata(relative).is_ok_and(|it| it.is_dir())
    }
}

/// A file being read from its first byte to its last.
#[derive(Debug)]
pub struct FileReader {
    /// The file.
    file: File,
    /// What it was when it was opened.
    version: Version,
    /// How many bytes of it were read.
    read: u64,
    /// The most bytes of one chunk.
    chunk_bytes: usize,
}

impl FileReader {
    /// The size that every chunk promises, in bytes.
    pub fn total(&self) -> u64 {
        self.version.bytes
    }

    /// Reads the next chunk; the reader comes back unless that was the last one.
    ///
    /// # Errors
    ///
    /// When the disk fails, or the file is no longer what was opened: nothing of what was read
    /// from a changed file is handed out.
    pub fn next(mut self) -> Result<(ModelFileChunk, Option<Self>), Refusal> {
        let offset = self.read;
        let wanted = (self.total() - offset).min(self.chunk_bytes as u64);
        // Never above `chunk_bytes`, so the cast loses nothing.
        let mut data = vec![0; wanted as usize];
        let whole = fill(&self.file, &mut data)?;
        if !whole || Version::of(&self.file)? != self.version {
            let (read, total) = (offset, self.total());
            return Err(Refusal::Changed { read, total });
        }
        self.read += wanted;
        let is_last = self.read == self.total();
        let chunk =
            ModelFileChunk { data, offset: signed(offset)?, total_size: signed(self.total())?, is_last };
        Ok((chunk, (!is_last).then_some(self)))
    }
}

/// What tells that a file is still the one that was opened: size alone misses a file that is
/// written over in place.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    /// The file's size, in bytes.
    bytes: u64,
    /// When its content was last written, where the system tells.
    modified: Option<SystemTime>,
}

impl Version {
    /// The version that an open file has now.
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { bytes: metadata.len(), modified: metadata.modified().ok() })
    }
}

/// Reads until the buffer is full; false where the file ends before.
fn fill(mut file: &File, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The contract's sizes are signed; no real file is too large for them.
fn signed(bytes: u64) -> Result<i64, Refusal> {
    i64::try_from(bytes).map_err(|error| Refusal::Io(io::Error::other(error)))
}

/// The refusal of what is there but is no file.
fn not_a_file(path: &ModelPath, kind: &'static str) -> Refusal {
    let file = path.file().to_owned();
    Refusal::NotAFile { file, kind }
}

/// Options for reading that never wait: a named pipe would hold its thread until somebody writes.
fn read_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        options.custom_flags(flags.bits() as i32);
    }
    options
}

/// Whether an error says that links went round in a circle.
#[cfg(unix)]
fn is_link_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Whether an error says that links went round in a circle: not told apart here.
#[cfg(not(unix))]
fn is_link_loop(_: &io::Error) -> bool {
    false
}

/// Whether an error is what opening a socket (or a device without a driver) gives.
#[cfg(unix)]
fn is_socket(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error())
}

/// Whether an error is what opening a socket gives: there are none in folders here.
#[cfg(not(unix))]
fn is_socket(_: &io::Error) -> bool {
    false
}
