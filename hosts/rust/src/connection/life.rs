//! When a worker last gave a sign of life.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a worker last gave a sign of life. Whoever sees one says so; the watchdog looks.
#[derive(Debug)]
pub(crate) struct Life {
    began: Instant,
    /// Milliseconds after `began`.
    bytes: AtomicU64,
    reads: AtomicU64,
    any: AtomicU64,
}

impl Life {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            bytes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            any: AtomicU64::new(0),
        }
    }

    /// Bytes came from the worker.
    pub(crate) fn bytes_came(&self) {
        self.bytes.store(self.now(), Ordering::Relaxed);
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.stirred();
    }

    /// Something else moved: the pipe took bytes, or processor time was used.
    pub(crate) fn stirred(&self) {
        self.any.store(self.now(), Ordering::Relaxed);
    }

    /// When bytes last came.
    pub(crate) fn last_bytes(&self) -> Instant {
        self.began + Duration::from_millis(self.bytes.load(Ordering::Relaxed))
    }

    /// How often bytes came.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// When anything last was seen.
    pub(crate) fn last_sign(&self) -> Instant {
        self.began + Duration::from_millis(self.any.load(Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
