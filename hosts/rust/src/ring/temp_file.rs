//! Where there is no memfd: a file in a temporary folder that is ours alone, removed at the end.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// Zeros that are written at once.
static CHUNK: [u8; 1 << 16] = [0; 1 << 16];

/// How many names are tried for the folder.
const ATTEMPTS: u32 = 100;

/// A file in a folder that only this user can look into.
#[derive(Debug)]
pub(crate) struct Backing {
    file: File,
    path: String,
    folder: PathBuf,
}

impl Backing {
    /// Nothing but our word says that the file keeps its length.
    pub(crate) const NEEDS_TRUST: bool = true;

    /// Make a file of `size` bytes, written once so that a full disk is told here and not later.
    pub(crate) fn create(size: u64) -> io::Result<Self> {
        let folder = make_folder()?;
        Self::create_in(&folder, size).inspect_err(|_| remove(&folder))
    }

    fn create_in(folder: &Path, size: u64) -> io::Result<Self> {
        let path = folder.join("ring");
        let name = path.to_str().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not UTF-8", path.display()))
        })?;
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        fill(&mut file, size)?;
        Ok(Self { file, path: name.to_owned(), folder: folder.to_owned() })
    }

    /// There are no seals here.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self)] // a memfd's can fail
    pub(crate) fn seal(&self) -> io::Result<()> {
        Ok(())
    }

    /// What is to be mapped.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where a worker of the same user finds it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Remove what can be removed: nobody is left who could be told of the rest.
fn remove(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}

fn make_folder() -> io::Result<PathBuf> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let mut taken = None;
    for attempt in 0..ATTEMPTS {
        let folder = std::env::temp_dir().join(name(attempt));
        match builder.create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(taken.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
}

/// Others need not be unable to guess it: an existing folder is never taken.
fn name(attempt: u32) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.subsec_nanos());
    format!("inferpipe-{}-{nanos:x}-{attempt}", process::id())
}

fn fill(file: &mut File, size: u64) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        let count = left.min(CHUNK.len() as u64);
        file.write_all(&CHUNK[..count as usize])?;
        left -= count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_in_a_folder_of_its_own_that_goes_with_it() {
        let backing = Backing::create(200_000).unwrap();
        let folder = backing.folder.clone();
        assert_eq!(backing.file().metadata().unwrap().len(), 200_000);
        assert!(backing.path().starts_with(folder.to_str().unwrap()));
        drop(backing);
        assert!(!folder.exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_looks_into_the_folder() {
        use std::os::unix::fs::PermissionsExt;
        let backing = Backing::create(1).unwrap();
        let mode = fs::metadata(&backing.folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn two_of_them_are_two() {
        let (first, second) = (Backing::create(1).unwrap(), Backing::create(1).unwrap());
        assert_ne!(first.path(), second.path());
    }
}
