//! Streams: a video or a camera that the worker decodes itself, frame after frame.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{json, Value};

use crate::answers::Answers;
use crate::calls::CallLimits;
use crate::connection::{Kind, Request};
use crate::protocol::{answer_from_json, Error, InferOptions, InferResult, Result};
use crate::stream_input::StreamInput;
use crate::task::event_name;
use crate::worker::Worker;

/// What a stream does beside what each of its requests does.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamOptions {
    /// Most frames a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fps: Option<f64>,
    /// Only every n-th frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_nth: Option<u32>,
    /// "oldest" or "none": what goes when frames come quicker than they are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<String>,
    /// What each request does. `retries` says nothing here: a stream ends with its worker.
    #[serde(flatten)]
    pub infer: InferOptions,
}

/// The events of a stream, in order. Dropping it ends the stream in the worker.
///
/// Data that is sent needs credit, and credit comes among the events: who does not take them holds up the sender
/// of this stream, and nobody else.
pub struct InferStream {
    answers: Answers,
    input: StreamInput,
}

/// What a stream tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A frame, and what each model has found in it.
    Frame(Box<Frame>),
    /// The container's index is at its end: frames come when it is complete.
    NeedsTail,
    /// The last event.
    End {
        /// Frames that were done.
        frames: u64,
        /// Frames that were not.
        dropped: u64,
    },
    /// An event that this version does not know, as it came.
    Other(Value),
}

/// A frame of a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Frame {
    /// From 0.
    pub number: u64,
    /// Within the stream.
    pub timestamp_ms: f64,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// One result or error a model.
    pub results: Vec<Result<InferResult>>,
}

impl Worker {
    /// Opens a stream, and waits until the worker has it.
    ///
    /// `source` is as the protocol says: `{"type": "push"}`, `{"type": "file", "path": …}` and so on.
    ///
    /// # Errors
    /// [`Code::Unsupported`](crate::Code::Unsupported) at once where the worker has no streams; what the worker says of
    /// the source; `closed`, `cancelled`, `timed_out`.
    pub async fn open_stream(
        &self,
        source: Value,
        models: &[u8],
        options: StreamOptions,
    ) -> Result<InferStream> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        let stream_id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let cuttable = source.get("type").and_then(Value::as_str) == Some("push");
        let limits = CallLimits { retries: 0, ..CallLimits::of(&options.infer) };
        let command = json!({
            "cmd": "stream_open", "streamId": stream_id, "source": source, "models": models, "options": options,
        });
        let request = Request::of_kind(&command, Kind::StreamOpen);
        let answers = Answers::open(self.clone(), request, "stream", limits).await?;
        let input = StreamInput { credit: Arc::default(), stream_id, cuttable, to: None };
        let mut stream = InferStream { answers, input };
        let opened = std::future::poll_fn(|context| stream.answers.poll_next(context)).await;
        stream.begin(&opened.unwrap_or(Err(Error::Closed))?)?;
        Ok(stream)
    }
}

impl InferStream {
    /// Where the stream's data goes, of the types "push" and "packets". Clones are the same.
    pub fn input(&self) -> StreamInput {
        self.input.clone()
    }

    fn begin(&mut self, opened: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Opened {
            #[serde(default)]
            credit: u64,
        }
        let name = event_name(opened)?;
        if name.as_deref() != Some("opened") {
            return Err(Error::violation("a stream that begins without having been opened"));
        }
        self.input.credit.grant(answer_from_json::<Opened>(opened)?.credit);
        if let Some((generation, id)) = self.answers.place() {
            self.input.to = self.answers.worker().connection(generation).map(|connection| (connection, id));
        }
        Ok(())
    }

    /// An answer as an event; `None` of one that is the library's own affair.
    fn take(&self, json: &[u8]) -> Result<Option<StreamEvent>> {
        #[derive(Deserialize)]
        struct Credit {
            bytes: u64,
        }
        #[derive(Deserialize)]
        struct End {
            #[serde(default)]
            frames: u64,
            #[serde(default)]
            dropped: u64,
        }
        Ok(Some(match event_name(json)?.as_deref() {
            Some("credit") => {
                self.input.credit.grant(answer_from_json::<Credit>(json)?.bytes);
                return Ok(None);
            }
            Some("frame") => StreamEvent::Frame(Box::new(Frame::from_json(json)?)),
            Some("needsTail") => StreamEvent::NeedsTail,
            Some("end") => {
                let End { frames, dropped } = answer_from_json(json)?;
                StreamEvent::End { frames, dropped }
            }
            _ => StreamEvent::Other(answer_from_json(json)?),
        }))
    }
}

impl fmt::Debug for InferStream {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("InferStream").field("stream_id", &self.input.stream_id).finish_non_exhaustive()
    }
}

impl Stream for InferStream {
    type Item = Result<StreamEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let generation = self.answers.place().map(|(generation, _)| generation);
            let answer = ready!(self.answers.poll_next(context));
            if self.answers.place().is_none() {
                self.input.credit.end();
            }
            let Some(answer) = answer else { return Poll::Ready(None) };
            match answer.and_then(|body| self.take(&body)) {
                Ok(None) => {}
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Err(error) => {
                    self.answers.distrust(generation, &error);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl Drop for InferStream {
    fn drop(&mut self) {
        self.input.credit.end();
    }
}

impl Frame {
    fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            frame_number: u64,
            #[serde(default)]
            timestamp_ms: f64,
            #[serde(default)]
            width: u32,
            #[serde(default)]
            height: u32,
            #[serde(default)]
            results: Vec<Box<RawValue>>,
        }
        let wire: Wire = answer_from_json(json)?;
        let results =
            wire.results.iter().map(|result| InferResult::from_json(result.get().as_bytes())).collect();
        let Wire { frame_number: number, timestamp_ms, width, height, .. } = wire;
        Ok(Self { number, timestamp_ms, width, height, results })
    }
}
