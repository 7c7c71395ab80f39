//! On Linux: memory without a name, that nobody can shorten and nobody else can write.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use rustix::io::Errno;

/// A memfd, named by this process's descriptor of it.
#[derive(Debug)]
pub(crate) struct Backing {
    file: File,
    path: String,
}

impl Backing {
    /// The seals say all that a worker needs to know.
    pub(crate) const NEEDS_TRUST: bool = false;

    /// Make a file of `size` bytes. As of any memory, its pages are taken when they are first written.
    pub(crate) fn create(size: u64) -> io::Result<Self> {
        let file = memfd_create("inferpipe-ring", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, size)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let file = File::from(file);
        Ok(Self { file, path })
    }

    /// Seal it, once it is mapped: no other length ever, and no other writer where the kernel knows
    /// that seal (5.1).
    pub(crate) fn seal(&self) -> io::Result<()> {
        match fcntl_add_seals(&self.file, SealFlags::FUTURE_WRITE) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        fcntl_add_seals(&self.file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(())
    }

    /// What is to be mapped.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where a worker of the same user and pid namespace finds it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use memmap2::MmapOptions;

    use super::*;

    #[test]
    fn nobody_changes_its_length_or_its_seals() {
        let backing = Backing::create(8192).unwrap();
        backing.seal().unwrap();
        assert!(backing.file().set_len(4096).is_err());
        assert!(backing.file().set_len(16384).is_err());
        assert!(fcntl_add_seals(backing.file(), SealFlags::WRITE).is_err());
    }

    #[test]
    fn others_may_read_it_and_not_write() {
        let backing = Backing::create(4096).unwrap();
        backing.seal().unwrap();
        let file = OpenOptions::new().read(true).write(true).open(backing.path()).unwrap();
        assert!(MmapOptions::new().map_raw(&file).is_err());
        assert!(MmapOptions::new().map_raw_read_only(&file).is_ok());
    }
}
