//! What happens to a worker's processes.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::death::Death;
use crate::protocol::{Error, Ready};

/// What happens to a worker's processes, told by [`Config::on_event`](crate::Config::on_event) and
/// [`Worker::events`](crate::Worker::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A process is ready to serve.
    Ready {
        /// Which process of this worker it is, from 1.
        generation: u64,
        /// What it told of itself.
        answer: Arc<Ready>,
    },
    /// A line that a process wrote to stderr.
    Log {
        /// Which process of this worker it is, from 1.
        generation: u64,
        /// Without its end.
        line: Arc<str>,
    },
    /// A process has ended.
    Exit(Arc<Death>),
    /// Another process is about to be started in place of one that died.
    Restart {
        /// The how many-th in a row, from 1.
        attempt: u32,
        /// How long until then.
        delay: Duration,
    },
    /// No other process will be started: every call is rejected with this.
    Failed(Error),
}

/// Events that a listener has not taken yet; older ones are lost to it.
const KEPT: usize = 1024;

pub(crate) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// Where events go.
pub(crate) struct Events {
    listener: Option<Listener>,
    to_all: broadcast::Sender<Event>,
    /// One at a time, whichever task tells.
    turn: Mutex<()>,
}

impl Events {
    pub(crate) fn new(listener: Option<Listener>) -> Self {
        Self { listener, to_all: broadcast::Sender::new(KEPT), turn: Mutex::new(()) }
    }

    pub(crate) fn emit(&self, event: &Event) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = &self.listener {
            // The task that tells has more to do than a listener that panics.
            let _ = catch_unwind(AssertUnwindSafe(|| listener(event)));
        }
        // Mostly nobody listens.
        let _ = self.to_all.send(event.clone());
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.to_all.subscribe()
    }
}
