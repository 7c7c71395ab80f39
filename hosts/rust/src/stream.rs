//! Streams: a video or a camera that the worker decodes itself, frame after frame.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{ready, Context, Poll};

use futures_core::Stream;
use serde_json::json;

use crate::answers::Answers;
use crate::calls::CallLimits;
use crate::connection::{Kind, Request};
use crate::protocol::{Error, Result};
use crate::stream_event::StreamEvent;
use crate::stream_input::{StreamInput, Takes};
use crate::stream_source::{StreamOptions, StreamSource};
use crate::stream_told::Told;
use crate::worker::Worker;

/// The events of a stream, in order. Dropping it ends the stream in the worker.
///
/// Data that is sent needs credit, and credit comes among the events: who does not take them holds up the sender
/// of this stream, and nobody else. More than 64 MiB of events that nobody takes end the stream with
/// [`Code::Overloaded`](crate::Code::Overloaded).
///
/// A stream that fails gives the frames that there were, and then its error. One whose worker dies ends with
/// [`Code::WorkerDied`](crate::Code::WorkerDied): it is never opened again by itself.
pub struct InferStream {
    answers: Answers,
    input: StreamInput,
}

impl Worker {
    /// Opens a stream, and waits until the worker has it. Each of its frames goes through all of `models`.
    ///
    /// # Errors
    /// [`Code::Unsupported`](crate::Code::Unsupported) at once where the worker has no streams; what the worker says of
    /// source, models and options; `closed`, `cancelled`, `timed_out`, `worker_died`.
    pub async fn open_stream(
        &self,
        source: StreamSource,
        models: &[u8],
        options: StreamOptions,
    ) -> Result<InferStream> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        let stream_id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let limits = CallLimits { retries: 0, ..CallLimits::of(&options.infer) };
        let takes = Takes::of(&source);
        let kind = if source.is_live() { Kind::LiveStreamOpen } else { Kind::StreamOpen };
        let source = serde_json::to_value(source).map_err(Error::bad_request)?;
        let options = serde_json::to_value(options).map_err(Error::bad_request)?;
        let command = json!({
            "cmd": "stream_open", "streamId": stream_id, "source": source, "models": models, "options": options,
        });
        let request = Request::of_kind(&command, kind);
        let mut answers = Answers::open(self.clone(), request, "stream", limits).await?;
        let opened = std::future::poll_fn(|context| answers.poll_next(context)).await;
        let generation = answers.place().map(|(generation, _)| generation);
        let told = opened.unwrap_or(Err(Error::Closed)).and_then(|body| Told::from_json(&body));
        match (told, answers.connection()) {
            (Ok(Told::Opened(credit)), Some(to)) => {
                let longest = self.ready().unwrap_or_default().limits.max_packet_bytes;
                Ok(InferStream { answers, input: StreamInput::new(stream_id, takes, to, credit, longest) })
            }
            (Err(error), _) => {
                answers.distrust(generation, &error);
                Err(error)
            }
            (Ok(_), _) => Err(Error::violation("a stream that begins without having been opened")),
        }
    }
}

impl InferStream {
    /// Where the stream's data goes, and what closes it from elsewhere. Clones are the same.
    pub fn input(&self) -> StreamInput {
        self.input.clone()
    }

    /// Ends the stream at once, as [`StreamInput::close`] does; the events that there are, and the last one, are
    /// still to be taken.
    pub fn close(&self) {
        self.input.close();
    }
}

impl fmt::Debug for InferStream {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("InferStream").field("stream_id", &self.input.stream_id()).finish_non_exhaustive()
    }
}

impl Stream for InferStream {
    type Item = Result<StreamEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let generation = self.answers.place().map(|(generation, _)| generation);
            let answer = ready!(self.answers.poll_next(context));
            let told = answer.map(|answer| answer.and_then(|body| Told::from_json(&body)));
            if self.answers.place().is_none() {
                let why = told.as_ref().and_then(|told| told.as_ref().err().cloned());
                self.input.credit().end(why);
            }
            return Poll::Ready(match told {
                None => None,
                Some(Ok(Told::Event(event))) => Some(Ok(event)),
                Some(Ok(Told::Opened(bytes) | Told::Credit(bytes))) => {
                    self.input.credit().grant(bytes);
                    continue;
                }
                Some(Err(error)) => {
                    self.answers.distrust(generation, &error);
                    Some(Err(error))
                }
            });
        }
    }
}

impl Drop for InferStream {
    fn drop(&mut self) {
        self.input.credit().end(None);
    }
}
