//! Answers in several parts, through the death of a worker where that is allowed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::calls::CallLimits;
use crate::connection::{Connection, Lost, Part, Parts, Request};
use crate::protocol::{error_in, Error, Result};
use crate::worker::Worker;

type Sending = Pin<Box<dyn Future<Output = Result<(u64, Parts)>> + Send>>;

/// The answers to one request, in order. Dropping it cancels the request.
pub(crate) struct Answers {
    worker: Worker,
    request: Arc<Request>,
    feature: &'static str,
    state: State,
    /// Only while no part has come: what was given cannot be taken back.
    retries: u32,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    passed: Option<Pin<Box<Sleep>>>,
}

enum State {
    Sending(Sending),
    Taking(u64, Parts),
    Done,
}

impl Answers {
    /// Sends a request to a worker that has the feature.
    ///
    /// # Errors
    /// `unsupported`, at once; `closed`, `cancelled`, `timed_out`, and of encoding.
    pub(crate) async fn open(
        worker: Worker,
        request: Request,
        feature: &'static str,
        limits: CallLimits,
    ) -> Result<Self> {
        let supervisor = worker.supervisor().clone();
        supervisor.check_open()?;
        let mut answers = Self {
            worker,
            request: Arc::new(request),
            feature,
            state: State::Done,
            retries: limits.retries,
            cancelled: limits.cancel.clone().map(|token| Box::pin(token.cancelled_owned())),
            passed: limits.timeout.map(|time| Box::pin(tokio::time::sleep(time))),
        };
        let (generation, parts) =
            limits.within(supervisor.send_for_parts(&answers.request, feature, 0)).await?;
        answers.state = State::Taking(generation, parts);
        Ok(answers)
    }

    /// The process that answers, and the request's id there.
    pub(crate) fn place(&self) -> Option<(u64, u32)> {
        match &self.state {
            State::Taking(generation, parts) => Some((*generation, parts.id())),
            _ => None,
        }
    }

    /// The pipes over which the request is answered, and its id there.
    pub(crate) fn connection(&self) -> Option<(Connection, u32)> {
        match &self.state {
            State::Taking(_, parts) => Some((parts.connection()?, parts.id())),
            _ => None,
        }
    }

    /// The next answer as JSON: `None` after the final one.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if let Some(error) = self.given_up(context) {
            return self.end(error);
        }
        loop {
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Sending(sending) => match ready!(sending.as_mut().poll(context)) {
                    Ok((generation, parts)) => self.state = State::Taking(generation, parts),
                    Err(error) => return self.end(error),
                },
                State::Taking(generation, parts) => {
                    let generation = *generation;
                    match ready!(parts.poll_next(context)) {
                        Some(Part::Answer { body, last }) => return self.answered(body, last),
                        Some(Part::Lost(lost)) => {
                            if let Some(error) = self.send_again(lost, generation) {
                                return self.end(error);
                            }
                        }
                        Some(Part::Overrun) => return self.end(overrun()),
                        None => return self.end(Error::Closed), // its connection went without a word
                    }
                }
            }
        }
    }

    fn given_up(&mut self, context: &mut Context<'_>) -> Option<Error> {
        if matches!(self.state, State::Done) {
            return None;
        }
        let cancelled = self.cancelled.as_mut().is_some_and(|token| token.as_mut().poll(context).is_ready());
        let passed = self.passed.as_mut().is_some_and(|time| time.as_mut().poll(context).is_ready());
        match (cancelled, passed) {
            (true, _) => Some(Error::Cancelled),
            (_, true) => Some(Error::TimedOut),
            _ => None,
        }
    }

    fn answered(&mut self, body: Bytes, last: bool) -> Poll<Option<Result<Bytes>>> {
        self.retries = 0;
        if last {
            self.state = State::Done;
        }
        Poll::Ready(Some(Ok(body)))
    }

    /// Sends the request to the next process, or tells why not.
    fn send_again(&mut self, lost: Lost, generation: u64) -> Option<Error> {
        match lost {
            Lost::NotSent => {}
            Lost::Died(_) if self.retries > 0 => self.retries -= 1,
            Lost::Died(death) => return Some(Error::WorkerDied(death)),
        }
        let (supervisor, request) = (self.worker.supervisor().clone(), self.request.clone());
        let feature = self.feature;
        self.state = State::Sending(Box::pin(async move {
            supervisor.send_for_parts(&request, feature, generation).await
        }));
        None
    }

    fn end(&mut self, error: Error) -> Poll<Option<Result<Bytes>>> {
        self.state = State::Done; // drops what is open: that cancels it
        Poll::Ready(Some(Err(error)))
    }

    /// What a process wrote cannot be read.
    pub(crate) fn distrust(&self, generation: Option<u64>, error: &Error) {
        if let (Some(generation), Error::ProtocolViolation(text)) = (generation, error) {
            self.worker.supervisor().distrust(generation, text);
        }
    }
}

fn overrun() -> Error {
    error_in(br#"{"error":"too many parts were not taken","code":"overloaded"}"#)
}
