//! A call: sent to the worker that serves, and again to the next one where that is allowed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::connection::{Lost, Note, Parts, Request, Sent};
use crate::death::{Death, Reason};
use crate::protocol::{Error, InferOptions, Result};
use crate::supervisor::{Serving, Supervisor};

/// How long a call may take, and how often it may be sent again.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallLimits {
    pub(crate) cancel: Option<CancellationToken>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: u32,
}

impl CallLimits {
    pub(crate) fn of(options: &InferOptions) -> Self {
        Self { cancel: options.cancel.clone(), timeout: options.timeout, retries: options.retries }
    }

    /// Waits for something as long as the caller does.
    ///
    /// # Errors
    /// `cancelled`, `timed_out`.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if self.cancel.as_ref().is_some_and(CancellationToken::is_cancelled) {
            return Err(Error::Cancelled);
        }
        tokio::select! {
            biased;
            done = work => done,
            () = cancelled(self.cancel.as_ref()) => Err(Error::Cancelled),
            () = passed(self.timeout) => Err(Error::TimedOut),
        }
    }
}

async fn cancelled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn passed(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// An answer, and which process gave it.
pub(crate) struct Answered {
    pub(crate) generation: u64,
    pub(crate) body: Bytes,
}

/// Makes a note for each time that a request is sent.
pub(crate) type Notes<'a> = &'a (dyn Fn() -> Note + Send + Sync);

impl Supervisor {
    /// Sends a request and waits for its answer, through deaths as often as the limits allow.
    ///
    /// # Errors
    /// `closed`, `cancelled`, `timed_out`, `worker_died`, and of encoding; an error object is an answer.
    pub(crate) async fn call(
        &self,
        request: &Request,
        limits: &CallLimits,
        notes: Option<Notes<'_>>,
    ) -> Result<Answered> {
        self.check_open()?;
        limits.within(self.send_until_answered(request, limits.retries, notes, None)).await
    }

    /// Sends a request that does not wait for room.
    ///
    /// # Errors
    /// `busy`, `closed`, and of encoding.
    pub(crate) fn try_send(&self, request: &Request) -> Result<(u64, Sent)> {
        self.check_open()?;
        let serving = match self.serving_now() {
            Serving::Ready(serving) => serving,
            Serving::Nobody { .. } => return Err(Error::Busy),
            Serving::Ended(cause) => return Err(cause),
        };
        let sent = serving.connection().try_submit(request)?.ok_or(Error::Busy)?;
        Ok((serving.number, sent))
    }

    /// As [`Supervisor::call`] without its limits of time; `first` was sent already.
    pub(crate) async fn send_until_answered(
        &self,
        request: &Request,
        mut retries: u32,
        notes: Option<Notes<'_>>,
        first: Option<(u64, Sent)>,
    ) -> Result<Answered> {
        let mut died = None;
        let mut attempt = first;
        let mut after = 0;
        loop {
            let (generation, sent) = match attempt.take() {
                Some(attempt) => attempt,
                None => {
                    let serving = self.serving_after(after).await.map_err(|error| because(&died, error))?;
                    let note = notes.map(|note| note());
                    (serving.number, serving.connection().submit(request, note)?)
                }
            };
            match sent.await {
                Ok(body) => return Ok(Answered { generation, body }),
                Err(Lost::NotSent) => {}
                Err(Lost::Died(death)) if retries > 0 => {
                    retries -= 1;
                    died = Some(death);
                }
                Err(Lost::Died(death)) => return Err(Error::WorkerDied(death)),
            }
            after = generation;
        }
    }

    /// Sends a request that is answered in several parts to a process later than `after`.
    ///
    /// # Errors
    /// `unsupported` where the process does not have the feature; `closed`, and of encoding.
    pub(crate) async fn send_for_parts(
        &self,
        request: &Request,
        feature: &str,
        mut after: u64,
    ) -> Result<(u64, Parts)> {
        loop {
            let serving = self.serving_after(after).await?;
            if !serving.ready().has(feature) {
                let text = format!("this worker does not have the feature \"{feature}\"");
                return Err(Error::unsupported(text));
            }
            match serving.connection().submit_for_parts(request)? {
                Ok(parts) => return Ok((serving.number, parts)),
                Err(_) => after = serving.number,
            }
        }
    }

    /// Reads an answer; a process whose answer cannot be read has lost its framing, and is killed.
    ///
    /// # Errors
    /// The reader's.
    pub(crate) fn read<T>(&self, answer: &Answered, reader: impl Fn(&[u8]) -> Result<T>) -> Result<T> {
        let read = reader(&answer.body);
        if let Err(Error::ProtocolViolation(text)) = &read {
            self.distrust(answer.generation, text);
        }
        read
    }

    /// What this process writes cannot be read.
    pub(crate) fn distrust(&self, generation: u64, text: &str) {
        if let Serving::Ready(serving) = self.serving_now() {
            if serving.number == generation {
                serving.kill(Reason::ProtocolViolation(text.into()));
            }
        }
    }
}

/// Who came before `close`, and was to be sent again, is told of the death.
fn because(died: &Option<Arc<Death>>, error: Error) -> Error {
    match (died, error) {
        (Some(death), Error::Closed) => Error::WorkerDied(death.clone()),
        (_, error) => error,
    }
}
