//! A request from its submission to its final answer.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::parts::PartsSender;
use crate::death::Death;
use crate::protocol::{Lease, Packet};

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Lost {
    /// Nothing of it was written: it may go elsewhere.
    NotSent,
    /// Its worker is gone.
    Died(Arc<Death>),
}

/// Looks at an answer before its caller does, on the reading task.
pub(crate) type Note = Box<dyn FnOnce(&[u8]) + Send>;

/// Where an answer goes.
pub(crate) enum Reply {
    /// Nobody waits any longer.
    Nobody,
    /// The same for answers in several parts.
    NobodyForParts,
    One(oneshot::Sender<Result<Bytes, Lost>>),
    Parts(PartsSender),
}

/// A request from its submission to its final answer.
pub(crate) struct Open {
    pub(crate) reply: Reply,
    pub(crate) note: Option<Note>,
    /// Dropped with this: nobody reads the pixels then.
    #[allow(dead_code)] // held, not read
    pub(crate) lease: Option<Lease>,
    pub(crate) kind: Kind,
    /// Until it is written.
    pub(crate) packet: Option<Packet>,
    pub(crate) payload_bytes: usize,
}

/// What a request is to the budgets and to `cancel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    /// A command during which the worker may be silent for long: `load`, `replace`, `warmup`.
    LongCommand,
    /// A data request that `cancel` can stop.
    Data,
    /// A data request that nothing stops.
    CacheFrame,
    /// A command with many answers, that `cancel` can stop.
    StreamOpen,
    /// The same of a source that may have no end, and of which nothing is lost when it is opened again.
    LiveStreamOpen,
}

impl Kind {
    pub(super) fn is_data(self) -> bool {
        matches!(self, Self::Data | Self::CacheFrame)
    }

    pub(super) fn can_be_cancelled(self) -> bool {
        matches!(self, Self::Data) || self.is_stream()
    }

    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::StreamOpen | Self::LiveStreamOpen)
    }
}
