//! What a host sends to a stream, as far as the worker has given credit for it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{Mutex as Turn, Notify};

use crate::connection::Connection;
use crate::protocol::{error_in, Error, Message, Result};
use crate::stream_packet::{FrameHeader, FramePacket};
use crate::stream_source::StreamSource;

/// Longest piece of a file: other requests do not wait long behind it.
const PIECE_BYTES: usize = 256 << 10;

/// What the length of a packet counts beside the data: id, type, stream id.
const PACKET_OVERHEAD: u64 = 9;

/// Where a stream's data goes, and what closes it. Clones are the same.
#[derive(Clone)]
pub struct StreamInput {
    shared: Arc<Shared>,
}

struct Shared {
    stream_id: u32,
    takes: Takes,
    connection: Connection,
    /// The id of the request that has opened the stream.
    opener: u32,
    /// Most bytes of one packet: 15/16 of the credit that the stream began with, if the worker takes packets so long.
    /// The worker gives credit back in parts, and the last of them may be missing.
    most: usize,
    credit: Credit,
    /// What is left of a frame whose `send` was dropped: it goes before the next one, or the worker would take that
    /// for the rest.
    rest: Turn<Bytes>,
}

/// What a stream is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// The worker reads by itself.
    Nothing,
    /// A growing file, which may be cut anywhere.
    File,
    /// One frame a packet.
    Frames,
}

impl Takes {
    pub(crate) fn of(source: &StreamSource) -> Self {
        match source {
            StreamSource::Push => Self::File,
            StreamSource::Packets => Self::Frames,
            _ => Self::Nothing,
        }
    }
}

impl fmt::Debug for StreamInput {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("StreamInput").field("stream_id", &self.shared.stream_id).finish_non_exhaustive()
    }
}

impl StreamInput {
    /// `longest` is the worker's limit of packets.
    pub(crate) fn new(
        stream_id: u32,
        takes: Takes,
        (connection, opener): (Connection, u32),
        credit: u64,
        longest: u64,
    ) -> Self {
        let most = (credit - credit / 16).min(longest.saturating_sub(PACKET_OVERHEAD));
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(FrameHeader::BYTES);
        let (credit, rest) = (Credit::new(credit), Turn::default());
        Self { shared: Arc::new(Shared { stream_id, takes, connection, opener, most, credit, rest }) }
    }

    pub(crate) fn stream_id(&self) -> u32 {
        self.shared.stream_id
    }

    pub(crate) fn credit(&self) -> &Credit {
        &self.shared.credit
    }

    /// Sends the next bytes of a "push" stream, or one frame of a "packets" stream with its header before it, as far
    /// as the worker has given credit; waits for more.
    ///
    /// Credit comes among the stream's events: somebody else must take these meanwhile.
    ///
    /// # Errors
    /// Why the stream has ended, if it failed, else `closed`; `bad_request` where the worker reads by itself, and as
    /// [`StreamInput::send_frame`].
    pub async fn send(&self, data: impl Into<Bytes>) -> Result<()> {
        let data = data.into();
        match self.shared.takes {
            Takes::File => self.send_bytes(data).await,
            Takes::Frames => self.send_packet(FramePacket::with_header(data)?).await,
            Takes::Nothing => Err(Error::bad_request("the worker reads this stream by itself")),
        }
    }

    /// Sends one frame of a "packets" stream.
    ///
    /// An encoded one goes as a whole, when there is credit for all of it; the pixels of RGB and BGR may go in
    /// several parts.
    ///
    /// # Errors
    /// As [`StreamInput::send`]; `bad_request` for pixels that are not width x height x 3 bytes, and for a stream that
    /// does not take frames; `too_large` for an encoded frame that is larger than 15/16 of the credit which the stream
    /// began with (`streamCreditBytes` of the worker's limits). A frame that is refused is not sent, and the stream
    /// goes on.
    pub async fn send_frame(&self, header: FrameHeader, data: impl Into<Bytes>) -> Result<()> {
        match self.shared.takes {
            Takes::Frames => self.send_packet(FramePacket::new(&header, data.into())?).await,
            Takes::File | Takes::Nothing => Err(Error::bad_request("this stream takes no frames")),
        }
    }

    /// Says that no more data comes. The events go on until the last one.
    ///
    /// # Errors
    /// As [`StreamInput::send`].
    pub fn finish(&self) -> Result<()> {
        if self.shared.takes == Takes::Nothing {
            return Err(Error::bad_request("the worker reads this stream by itself"));
        }
        self.shared.credit.check()?;
        self.write(&Message::StreamEnd { stream_id: self.shared.stream_id })
    }

    /// Ends the stream at once: its last event is an [`End`](crate::StreamEvent::End) with the reason
    /// [`Closed`](crate::EndReason::Closed), if it has not ended before.
    pub fn close(&self) {
        if self.shared.credit.check().is_ok() {
            let command = json!({"cmd": "stream_close", "streamId": self.shared.stream_id});
            self.shared.connection.tell(&command, None);
            self.shared.credit.end(None);
        }
    }

    async fn send_bytes(&self, mut data: Bytes) -> Result<()> {
        let _turn = self.shared.rest.lock().await;
        while !data.is_empty() {
            let taken = self.shared.credit.take(1, data.len().min(PIECE_BYTES).min(self.shared.most)).await?;
            self.write_data(Bytes::new(), data.split_to(taken))?;
        }
        Ok(())
    }

    async fn send_packet(&self, frame: FramePacket) -> Result<()> {
        let FramePacket { head, mut data, cuttable } = frame;
        let (length, most) = (head.len() + data.len(), self.shared.most);
        if !cuttable && length > most {
            return Err(too_large(length, most));
        }
        let mut rest = self.shared.rest.lock().await;
        self.send_rest(&mut rest).await?;
        // Pixels go as a whole if they can: the worker need not put them together then.
        let least = if cuttable { length.min(most / 2).max(head.len()) } else { length };
        let taken = self.shared.credit.take(least, length.min(most)).await?;
        let first = data.split_to(taken - head.len());
        *rest = data;
        self.write_data(head, first)?;
        self.send_rest(&mut rest).await
    }

    async fn send_rest(&self, rest: &mut Bytes) -> Result<()> {
        while !rest.is_empty() {
            let most = rest.len().min(self.shared.most);
            let least = rest.len().min(self.shared.most / 2).max(1);
            let taken = self.shared.credit.take(least, most).await?;
            self.write_data(Bytes::new(), rest.split_to(taken))?;
        }
        Ok(())
    }

    fn write_data(&self, head: Bytes, data: Bytes) -> Result<()> {
        self.write(&Message::StreamData { stream_id: self.shared.stream_id, head, data })
    }

    fn write(&self, message: &Message) -> Result<()> {
        if self.shared.connection.send_unanswered(self.shared.opener, message)? {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }
}

fn too_large(length: usize, most: usize) -> Error {
    let text =
        format!("a frame of {length} bytes cannot be sent in parts, and the stream takes {most} at once");
    error_in(json!({"error": text, "code": "too_large"}).to_string().as_bytes())
}

/// How many bytes may be sent.
pub(crate) struct Credit {
    left: Mutex<Left>,
    changed: Notify,
}

struct Left {
    bytes: u64,
    ended: Option<Error>,
}

impl Credit {
    fn new(bytes: u64) -> Self {
        Self { left: Mutex::new(Left { bytes, ended: None }), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn grant(&self, bytes: u64) {
        let mut left = self.lock();
        left.bytes = left.bytes.saturating_add(bytes);
        self.changed.notify_waiters();
    }

    /// Nothing is sent from now on; `why`, if the stream failed. The first word counts.
    pub(crate) fn end(&self, why: Option<Error>) {
        self.lock().ended.get_or_insert(why.unwrap_or(Error::Closed));
        self.changed.notify_waiters();
    }

    fn check(&self) -> Result<()> {
        self.lock().ended.clone().map_or(Ok(()), Err)
    }

    /// Takes what there is, from `least` to `most` bytes.
    async fn take(&self, least: usize, most: usize) -> Result<usize> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut left = self.lock();
                if let Some(why) = &left.ended {
                    return Err(why.clone());
                }
                let there = usize::try_from(left.bytes).unwrap_or(usize::MAX);
                if there >= least {
                    let taken = there.min(most);
                    left.bytes -= taken as u64;
                    return Ok(taken);
                }
            }
            changed.await;
        }
    }
}
