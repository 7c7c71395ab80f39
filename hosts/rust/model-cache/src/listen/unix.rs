//! A unix socket whose file comes and goes with the server.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::Stream;

/// Connections of a unix socket; its file goes when this is dropped, which is when the server
/// stops taking connections.
#[derive(Debug)]
pub struct UnixIncoming {
    /// The connections.
    connections: UnixListenerStream,
    /// The socket's file.
    file: SocketFile,
}

impl UnixIncoming {
    /// Binds a socket, taking the place of one that a dead server has left.
    ///
    /// # Errors
    ///
    /// When a server answers there, or what is there is no socket.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        remove_dead(path).await?;
        let connections = UnixListenerStream::new(UnixListener::bind(path)?);
        let file = SocketFile::new(path)?;
        Ok(Self { connections, file })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

impl Stream for UnixIncoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.connections).poll_next(cx)
    }
}

/// A socket's file, removed on drop unless another server has put its own there since.
#[derive(Debug)]
struct SocketFile {
    /// Where it is.
    path: PathBuf,
    /// Which one it is.
    inode: (u64, u64),
}

impl SocketFile {
    /// Notes which file was bound.
    fn new(path: &Path) -> io::Result<Self> {
        let inode = inode(path)?;
        let path = path.to_owned();
        Ok(Self { path, inode })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // What cannot be removed is taken over at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of a path itself, not of what it links to.
fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Removes a socket on which nobody listens; anything else stays.
async fn remove_dead(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        // Nothing is there, or binding tells what is wrong.
        _ => return Ok(()),
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // A server answers, or may not be asked: binding tells.
        _ => Ok(()),
    }
}
