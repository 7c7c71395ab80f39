//! Tells a worker that works from one that hangs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep_until, Instant};

use crate::connection::Connection;
use crate::death::{Death, Reason};
use crate::keeper::Ender;
use crate::process::figures;

/// Looks in the time in which a worker is to give a sign.
const LOOKS: u32 = 4;

/// What the watchdog sees of a process, and how it ends it.
pub(crate) struct Sight {
    pub(crate) pid: u32,
    pub(crate) connection: Connection,
    pub(crate) end: Ender,
    pub(crate) ended: watch::Receiver<Option<Arc<Death>>>,
}

/// Ends a process that gives no sign of life while it starts; to be aborted when it is ready.
pub(crate) async fn watch_start(sight: Sight, stall: Duration) {
    let mut ended = sight.ended.clone();
    tokio::select! {
        () = has_ended(&mut ended) => {}
        () = sight.wait_for_silence(stall, |_| true) => sight.end.kill(Reason::StartTimedOut),
    }
}

/// Asks a process that is silent for a sign of life, and ends one that gives none; returns when it is gone.
pub(crate) async fn watch_serving(sight: Sight, heartbeat: Duration, unresponsive: Duration) {
    let mut ended = sight.ended.clone();
    tokio::select! {
        () = has_ended(&mut ended) => {}
        () = sight.wait_for_unresponsiveness(heartbeat, unresponsive) => sight.end.kill(Reason::Unresponsive),
    }
}

async fn has_ended(ended: &mut watch::Receiver<Option<Arc<Death>>>) {
    // Where the sender is gone the process is, too.
    let _ = ended.wait_for(Option::is_some).await;
}

impl Sight {
    async fn wait_for_unresponsiveness(&self, heartbeat: Duration, unresponsive: Duration) {
        loop {
            let due = self.connection.life().last_bytes() + heartbeat;
            if Instant::now() < due {
                sleep_until(due).await;
                continue;
            }
            let reads = self.connection.life().reads();
            self.connection.tell(&json!({"cmd": "ping"}), None);
            let answered = |connection: &Connection| connection.life().reads() != reads;
            tokio::select! {
                () = self.wait_for_silence(unresponsive, Connection::has_long_command) => return,
                () = until(unresponsive / LOOKS, &self.connection, answered) => {}
            }
        }
    }

    /// Returns when there has been no sign of life for so long. Processor time counts as one while `may_compute`
    /// says so.
    async fn wait_for_silence(&self, time: Duration, may_compute: impl Fn(&Connection) -> bool) {
        let step = (time / LOOKS).max(Duration::from_millis(1));
        let mut since = Instant::now();
        let mut ticks = figures::cpu_ticks(self.pid);
        loop {
            let planned = Instant::now() + step;
            sleep_until(planned).await;
            if planned.elapsed() > step {
                // This process was held up, not the worker: it has its whole time anew.
                since = Instant::now();
            }
            let now = figures::cpu_ticks(self.pid);
            if now != ticks && may_compute(&self.connection) {
                self.connection.life().stirred();
            }
            ticks = now;
            if self.connection.life().last_sign().max(since).elapsed() >= time {
                return;
            }
        }
    }
}

/// Looks again and again, until it holds.
async fn until(step: Duration, connection: &Connection, holds: impl Fn(&Connection) -> bool) {
    while !holds(connection) {
        sleep_until(Instant::now() + step.max(Duration::from_millis(1))).await;
    }
}
