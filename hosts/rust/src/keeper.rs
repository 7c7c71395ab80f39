//! The task that owns a process: it learns of the end first, and tells everybody.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::connection::{Connection, StreamEnd};
use crate::death::{Death, Reason};
use crate::event::{Event, Events};
use crate::process::{self, Reaped, Tail};

/// How long a process that was killed, or has closed its answers, may take to end.
pub(crate) const END_GRACE: Duration = Duration::from_millis(500);

/// How long a pipe may stay open when its process is gone: a child of its own may hold it.
const PIPE_GRACE: Duration = Duration::from_millis(100);

/// Tells the keeper how the process is to end.
#[derive(Clone)]
pub(crate) struct Ender(mpsc::UnboundedSender<End>);

/// How a process is to end.
pub(crate) enum End {
    /// Kill it, for this reason.
    Kill(Reason),
    /// It has been asked to end; when it does, this is why.
    Expect(Reason),
}

impl Ender {
    pub(crate) fn new(to: mpsc::UnboundedSender<End>) -> Self {
        Self(to)
    }

    pub(crate) fn kill(&self, reason: Reason) {
        // Where nobody listens it has ended.
        let _ = self.0.send(End::Kill(reason));
    }

    pub(crate) fn expect(&self, reason: Reason) {
        let _ = self.0.send(End::Expect(reason));
    }
}

/// The task that owns a process.
pub(crate) struct Keeper {
    pub(crate) number: u64,
    pub(crate) child: Reaped,
    /// Until its end is known.
    pub(crate) answers: Option<JoinHandle<StreamEnd>>,
    pub(crate) stderr: JoinHandle<()>,
    pub(crate) tail: Tail,
    pub(crate) connection: Connection,
    pub(crate) events: Arc<Events>,
}

/// What is known of an end so far.
struct Ending {
    reason: Reason,
    status: Option<io::Result<ExitStatus>>,
    answers: Option<StreamEnd>,
}

impl Keeper {
    /// Waits for the end, sees to it that it is one, and tells of it.
    pub(crate) async fn run(
        mut self,
        mut ends: mpsc::UnboundedReceiver<End>,
        tell_ended: watch::Sender<Option<Arc<Death>>>,
    ) {
        let mut ending = self.first_sign(&mut ends).await;
        self.make_sure(&mut ending).await;
        while let Ok(end) = ends.try_recv() {
            if let End::Expect(expected) = end {
                ending.reason = expected; // told while this task was busy with the end
            }
        }
        let reaped = ending.status.is_some();
        let death = Arc::new(self.describe(ending));
        self.connection.end(&death);
        self.events.emit(&Event::Exit(death.clone()));
        tell_ended.send_replace(Some(death));
        if !reaped {
            // Killed, and still there: in a system call that cannot be interrupted.
            let _ = self.child.wait().await;
        }
    }

    /// Waits until the process has ended, or is to.
    async fn first_sign(&mut self, ends: &mut mpsc::UnboundedReceiver<End>) -> Ending {
        let mut ending = Ending { reason: Reason::Exited, status: None, answers: None };
        loop {
            tokio::select! {
                end = ends.recv() => match end {
                    Some(End::Expect(expected)) => ending.reason = expected,
                    Some(End::Kill(reason)) => {
                        ending.reason = reason;
                        return ending;
                    }
                    None => {
                        ending.reason = Reason::Killed;
                        return ending;
                    }
                },
                end = end_of(&mut self.answers) => {
                    if let StreamEnd::Violated(violation) = &end {
                        ending.reason = Reason::ProtocolViolation(violation.clone());
                    } else {
                        // Its status comes with it, mostly.
                        ending.status = timeout(END_GRACE, self.child.wait()).await.ok();
                    }
                    ending.answers = Some(end);
                    return ending;
                }
                status = self.child.wait() => {
                    ending.status = Some(status);
                    return ending;
                }
            }
        }
    }

    /// Kills what has not ended, and reads to the end what it wrote: that still counts.
    async fn make_sure(&mut self, ending: &mut Ending) {
        if ending.status.is_none() {
            self.child.kill();
            ending.status = timeout(END_GRACE, self.child.wait()).await.ok();
        }
        if ending.answers.is_none() {
            ending.answers = self.read_to_the_end().await;
        }
        if let Some(answers) = self.answers.take() {
            answers.abort();
        }
        if timeout(PIPE_GRACE, &mut self.stderr).await.is_err() {
            self.stderr.abort();
        }
    }

    /// Waits as long as answers come. Two looks in vain: the first may be due to this host, held up until now.
    async fn read_to_the_end(&mut self) -> Option<StreamEnd> {
        let mut in_vain = 0;
        while in_vain < 2 {
            let reads = self.connection.life().reads();
            if let Ok(end) = timeout(PIPE_GRACE, end_of(&mut self.answers)).await {
                return Some(end);
            }
            in_vain = if self.connection.life().reads() == reads { in_vain + 1 } else { 0 };
        }
        None
    }

    fn describe(&self, ending: Ending) -> Death {
        let (exit_code, signal) = match &ending.status {
            Some(Ok(status)) => process::how_it_ended(*status),
            _ => (None, None),
        };
        let reason = match (ending.reason, ending.answers) {
            (Reason::Exited, Some(StreamEnd::Violated(text))) => Reason::ProtocolViolation(text),
            (Reason::Exited, Some(StreamEnd::Cut(text))) if exit_code == Some(0) => {
                Reason::ProtocolViolation(text)
            }
            (reason, _) => reason,
        };
        Death {
            generation: self.number,
            reason,
            exit_code,
            signal,
            stderr_tail: self.tail.lines(),
            in_flight: self.connection.in_flight(),
        }
    }
}

/// The end of the stream of answers; after that it never comes again.
async fn end_of(answers: &mut Option<JoinHandle<StreamEnd>>) -> StreamEnd {
    let Some(reading) = answers else { return std::future::pending().await };
    let end = reading.await;
    *answers = None;
    end.unwrap_or_else(|error| StreamEnd::Violated(format!("the reading task ended: {error}")))
}
