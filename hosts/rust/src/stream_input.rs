//! What a host sends to a stream, as far as the worker has given credit for it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::connection::Connection;
use crate::protocol::{Error, Message, Result};

/// Where a stream's data goes.
#[derive(Clone)]
pub struct StreamInput {
    pub(crate) credit: Arc<Credit>,
    pub(crate) stream_id: u32,
    /// A growing file may be cut anywhere; a packet is sent as a whole.
    pub(crate) cuttable: bool,
    pub(crate) to: Option<(Connection, u32)>,
}

impl fmt::Debug for StreamInput {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("StreamInput").field("stream_id", &self.stream_id).finish_non_exhaustive()
    }
}

impl StreamInput {
    /// Sends data, as far as the worker has given credit for it; waits for more.
    ///
    /// # Errors
    /// `closed` when the stream has ended.
    pub async fn send(&self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            let least = if self.cuttable { 1 } else { data.len() };
            let taken = self.credit.take(least, data.len()).await?;
            self.write(&Message::StreamData { stream_id: self.stream_id, data: data.split_to(taken) })?;
        }
        Ok(())
    }

    /// Says that no more data comes.
    ///
    /// # Errors
    /// `closed` when the stream has ended.
    pub fn finish(&self) -> Result<()> {
        self.write(&Message::StreamEnd { stream_id: self.stream_id })
    }

    fn write(&self, message: &Message) -> Result<()> {
        let (connection, id) = self.to.as_ref().ok_or(Error::Closed)?;
        if connection.send_unanswered(*id, message)? {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }
}

/// How many bytes may be sent.
#[derive(Default)]
pub(crate) struct Credit {
    left: Mutex<Left>,
    changed: Notify,
}

#[derive(Default)]
struct Left {
    bytes: u64,
    ended: bool,
}

impl Credit {
    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn grant(&self, bytes: u64) {
        let mut left = self.lock();
        left.bytes = left.bytes.saturating_add(bytes);
        self.changed.notify_waiters();
    }

    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_waiters();
    }

    /// Takes what there is, from `least` to `most` bytes.
    async fn take(&self, least: usize, most: usize) -> Result<usize> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let mut left = self.lock();
                if left.ended {
                    return Err(Error::Closed);
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
