//! Writes packets, in parts, as far as the pipe takes them.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::book::Next;
use super::shared::Shared;

/// Parts of one write; the system takes 1024.
const MAX_PARTS: usize = 512;

/// Writes what the book says, until it says that the stream ends or the worker reads no more.
pub(super) async fn run<W: AsyncWrite + Unpin>(shared: Arc<Shared>, to: W) {
    tokio::select! {
        () = shared.over.cancelled() => {}
        () = write_on(&shared, to) => {}
    }
}

async fn write_on<W: AsyncWrite + Unpin>(shared: &Shared, mut to: W) {
    loop {
        match shared.next_to_write() {
            Next::Parts(parts) => {
                // A pipe that is broken shows at the other end too: the reader tells why.
                if write(&mut to, parts, || shared.life.stirred()).await.is_err() {
                    return;
                }
            }
            Next::Wait => shared.writable.notified().await,
            Next::Close => return,
        }
    }
}

/// Writes all of the parts; `moved` is called whenever some of it was taken.
async fn write<W: AsyncWrite + Unpin>(to: &mut W, mut parts: Vec<Bytes>, moved: impl Fn()) -> io::Result<()> {
    let mut rest = &mut parts[..];
    while !rest.is_empty() {
        let slices: Vec<IoSlice<'_>> = rest.iter().take(MAX_PARTS).map(|part| IoSlice::new(part)).collect();
        let taken = to.write_vectored(&slices).await?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        moved();
        rest = advance(rest, taken);
    }
    Ok(())
}

/// What is left of the parts after so many bytes.
fn advance(parts: &mut [Bytes], mut taken: usize) -> &mut [Bytes] {
    let mut done = 0;
    for part in parts.iter_mut() {
        if taken < part.len() {
            part.advance(taken);
            break;
        }
        taken -= part.len();
        *part = Bytes::new(); // the pixels are not held longer than they are needed
        done += 1;
    }
    &mut parts[done..]
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    /// A double of a pipe that takes a given number of bytes first, and one at a time then.
    struct Narrow {
        first: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let room = if self.first > 0 { std::mem::take(&mut self.first) } else { 1 };
            let count = bytes.len().min(room);
            self.taken.extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let room = if self.first > 0 { std::mem::take(&mut self.first) } else { 1 };
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(room).collect();
            self.taken.extend_from_slice(&bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_pipe_that_stops_anywhere_gets_every_byte_once() {
        let parts: Vec<Bytes> =
            [&b"head"[..], b"pixels of one", b"", b"x", b"and more"].map(Bytes::from_static).to_vec();
        let whole = parts.concat();
        for first in 1..=whole.len() {
            let mut pipe = Narrow { first, taken: Vec::new() };
            write(&mut pipe, parts.clone(), || ()).await.unwrap();
            assert_eq!(pipe.taken, whole, "stopped after {first}");
        }
    }

    #[tokio::test]
    async fn more_parts_than_the_system_takes_are_written_in_turns() {
        let parts: Vec<Bytes> = (0..3 * MAX_PARTS).map(|part| Bytes::from(format!("{part},"))).collect();
        let mut pipe = Narrow { first: 5, taken: Vec::new() };
        write(&mut pipe, parts.clone(), || ()).await.unwrap();
        assert_eq!(pipe.taken, parts.concat());
    }
}
