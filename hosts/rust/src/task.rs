//! Tasks: requests with parameters and attachments, whose answers may come in several parts.

use std::fmt;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use base64::Engine as _;
use bytes::Bytes;
use futures_core::Stream;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answers::Answers;
use crate::calls::CallLimits;
use crate::connection::{Kind, Request};
use crate::protocol::{answer_from_json, Error, InferOptions, InferResult, Message, Result};
use crate::worker::Worker;

/// The events of a task, in order. Dropping it cancels the task.
pub struct TaskStream {
    answers: Answers,
}

/// What a task tells.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TaskEvent {
    /// The next piece of text.
    Token {
        /// From 0.
        index: u64,
        /// The piece.
        text: String,
    },
    /// The next piece of sound.
    Audio {
        /// From 0.
        index: u64,
        /// Samples or a file, as the task says.
        data: Bytes,
        /// Samples a second.
        rate: u32,
    },
    /// All was told: the last event of a task with `"stream":true`.
    Done(Done),
    /// The whole answer: the only event of a task without.
    Result(Box<InferResult>),
    /// An event that this version does not know, as it came.
    Other(Value),
}

/// The end of a task.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Done {
    /// All of the text.
    pub text: String,
    /// How many tokens were made.
    pub tokens: u64,
    /// "stop", "length" or "cancelled".
    pub finish_reason: String,
    /// What else it said.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Worker {
    /// Runs a task: a model, with parameters and attachments.
    ///
    /// `retries` hold only until the first event.
    ///
    /// # Errors
    /// [`Code::Unsupported`](crate::Code::Unsupported) at once where the worker has no tasks; `closed`, `cancelled`,
    /// `timed_out`.
    pub async fn task(
        &self,
        model: u8,
        params: &Map<String, Value>,
        attachments: Vec<Bytes>,
        options: InferOptions,
    ) -> Result<TaskStream> {
        let params = serde_json::to_vec(params).map_err(Error::bad_request)?;
        let request = Request {
            message: Message::Task { model, params: params.into(), attachments },
            kind: Kind::Data,
            options: options.to_json().map_err(Error::bad_request)?,
            lease: None,
        };
        let answers = Answers::open(self.clone(), request, "task", CallLimits::of(&options)).await?;
        Ok(TaskStream { answers })
    }
}

impl fmt::Debug for TaskStream {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("TaskStream").field("place", &self.answers.place()).finish_non_exhaustive()
    }
}

impl Stream for TaskStream {
    type Item = Result<TaskEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let generation = self.answers.place().map(|(generation, _)| generation);
        let event = ready!(self.answers.poll_next(context)).map(|body| TaskEvent::from_json(&body?));
        if let Some(Err(error)) = &event {
            self.answers.distrust(generation, error);
        }
        Poll::Ready(event)
    }
}

impl TaskEvent {
    fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Audio {
            index: u64,
            data: String,
            rate: u32,
        }
        #[derive(Deserialize)]
        struct Token {
            index: u64,
            text: String,
        }
        match event_name(json)?.as_deref() {
            None => Ok(Self::Result(Box::new(InferResult::from_json(json)?))),
            Some("token") => {
                let Token { index, text } = answer_from_json(json)?;
                Ok(Self::Token { index, text })
            }
            Some("audio") => {
                let Audio { index, data, rate } = answer_from_json(json)?;
                let data =
                    base64::engine::general_purpose::STANDARD.decode(data).map_err(Error::violation)?;
                Ok(Self::Audio { index, data: data.into(), rate })
            }
            Some("done") => Ok(Self::Done(answer_from_json(json)?)),
            Some(_) => Ok(Self::Other(answer_from_json(json)?)),
        }
    }
}

/// The name of an event; `None` of an answer that is none.
///
/// # Errors
/// The answer's own, if it is an error.
pub(crate) fn event_name(json: &[u8]) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Head {
        event: Option<String>,
    }
    Ok(answer_from_json::<Head>(json)?.event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Code;

    #[test]
    fn events_are_read_by_their_names() {
        let token = TaskEvent::from_json(br#"{"event":"token","index":3,"text":"hi"}"#).unwrap();
        assert_eq!(token, TaskEvent::Token { index: 3, text: "hi".into() });
        let audio =
            TaskEvent::from_json(br#"{"event":"audio","index":0,"data":"AAE=","rate":16000}"#).unwrap();
        assert_eq!(audio, TaskEvent::Audio { index: 0, data: Bytes::from_static(&[0, 1]), rate: 16000 });
        let other = TaskEvent::from_json(br#"{"event":"progress","share":0.5}"#).unwrap();
        assert!(matches!(other, TaskEvent::Other(_)));
    }

    #[test]
    fn an_error_within_a_task_is_an_error() {
        let error = TaskEvent::from_json(br#"{"event":"error","final":true,"error":"no","code":"internal"}"#);
        assert_eq!(error.unwrap_err().code(), Code::Internal);
        assert_eq!(TaskEvent::from_json(b"{}").unwrap_err().code(), Code::ProtocolViolation);
    }
}
