//! What can go wrong, told apart by a code.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::death::Death;

/// What a call of this library ends with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. [`Error::code`] tells the cases apart as the protocol does; the variants hold what belongs to each.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The worker answered with an error.
    #[error("{0}")]
    Answer(Arc<ErrorAnswer>),
    /// The request's worker is gone.
    #[error("{0}")]
    WorkerDied(Arc<Death>),
    /// The worker could not be started, ended before it was ready, or did not take the configuration.
    #[error("handshake refused: {0}")]
    HandshakeRefused(Arc<Death>),
    /// The worker gave no sign of life while it started.
    #[error("start timed out: {0}")]
    StartTimedOut(Arc<Death>),
    /// The call's own `timeout` has passed.
    #[error("timed out")]
    TimedOut,
    /// What the worker wrote cannot be read.
    #[error("protocol violation: {0}")]
    ProtocolViolation(Arc<str>),
    /// The call came after `close` or `kill`.
    #[error("the worker is closed")]
    Closed,
    /// There is no room now, and the call was one that does not wait.
    #[error("there is no room for another request")]
    Busy,
    /// Every slot of the ring is in use, and the call was one that does not wait.
    #[error("every slot of the ring is in use")]
    RingFull,
    /// The slot was handed over or released before.
    #[error("the slot was handed over or released before")]
    StaleSlot,
    /// The caller's token was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A newer picture of the same source took its place before it was sent.
    #[error("superseded by a newer picture of its source")]
    Superseded,
    /// The call cannot be sent as it is.
    #[error("{0}")]
    BadRequest(Arc<str>),
    /// The worker does not have what is asked for.
    #[error("{0}")]
    Unsupported(Arc<str>),
}

impl Error {
    /// What kind of error it is.
    pub fn code(&self) -> Code {
        match self {
            Self::Answer(answer) => answer.code,
            Self::WorkerDied(_) => Code::WorkerDied,
            Self::HandshakeRefused(_) => Code::HandshakeRefused,
            Self::StartTimedOut(_) => Code::StartTimedOut,
            Self::TimedOut => Code::TimedOut,
            Self::ProtocolViolation(_) => Code::ProtocolViolation,
            Self::Closed => Code::Closed,
            Self::Busy => Code::Busy,
            Self::RingFull => Code::RingFull,
            Self::StaleSlot => Code::StaleSlot,
            Self::Cancelled => Code::Cancelled,
            Self::Superseded => Code::Superseded,
            Self::BadRequest(_) => Code::BadRequest,
            Self::Unsupported(_) => Code::Unsupported,
        }
    }

    /// The worker's whole answer, if this is one.
    pub fn answer(&self) -> Option<&ErrorAnswer> {
        match self {
            Self::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    /// How the worker ended, if this is about that.
    pub fn death(&self) -> Option<&Death> {
        match self {
            Self::WorkerDied(death) | Self::HandshakeRefused(death) | Self::StartTimedOut(death) => {
                Some(death)
            }
            _ => None,
        }
    }

    pub(crate) fn violation(text: impl fmt::Display) -> Self {
        Self::ProtocolViolation(text.to_string().into())
    }

    pub(crate) fn bad_request(text: impl fmt::Display) -> Self {
        Self::BadRequest(text.to_string().into())
    }

    pub(crate) fn unsupported(text: impl fmt::Display) -> Self {
        Self::Unsupported(text.to_string().into())
    }
}

/// An error object of the worker.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ErrorAnswer {
    /// What kind of error it is; [`Code::Unknown`] for one that this version does not know.
    pub code: Code,
    /// For a person.
    pub text: String,
    /// The whole object.
    pub answer: Value,
}

impl ErrorAnswer {
    /// The error object in an answer, if it is one: an object with `error`.
    pub(crate) fn of(answer: Value) -> std::result::Result<Self, Value> {
        let Some(text) = answer.get("error").and_then(Value::as_str).map(String::from) else {
            return Err(answer);
        };
        let code = match answer.get("code").and_then(Value::as_str) {
            Some(code) => Code::of(code),
            None => Code::Internal,
        };
        Ok(Self { code, text, answer })
    }
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self.code {
            Code::Unknown => self.answer.get("code").and_then(Value::as_str).unwrap_or("unknown"),
            known => known.as_str(),
        };
        write!(to, "{code}: {}", self.text)
    }
}

impl From<ErrorAnswer> for Error {
    fn from(answer: ErrorAnswer) -> Self {
        Self::Answer(Arc::new(answer))
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// The kinds of [`Error`], as the protocol names them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+
            /// A code that this version does not know; the text is in the answer.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl Code {
            /// Every code that is known.
            pub const ALL: &'static [Code] = &[$(Code::$name,)+];

            /// As on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                    Self::Unknown => "unknown",
                }
            }
        }
    };
}

codes! {
    /// A payload, an option, a command or a model config cannot be read.
    BadRequest = "bad_request",
    /// The worker does not know this kind of message.
    UnknownType = "unknown_type",
    /// A picture is broken, cut short, or no JPEG, PNG or WebP.
    DecodeFailed = "decode_failed",
    /// The slot has no model, or a load has failed.
    ModelNotLoaded = "model_not_loaded",
    /// No frame of that id is kept.
    FrameNotCached = "frame_not_cached",
    /// The worker does not have what is asked for.
    Unsupported = "unsupported",
    /// Over one of the worker's limits of size.
    TooLarge = "too_large",
    /// Over one of the worker's limits of number.
    Overloaded = "overloaded",
    /// `deadline_ms` passed before predict.
    DeadlineExceeded = "deadline_exceeded",
    /// Cancelled before predict, or by the caller.
    Cancelled = "cancelled",
    /// A newer request of the same source came before predict, or before it was sent.
    Superseded = "superseded",
    /// A model's file is missing, cannot be read, or has another digest.
    ProviderFailed = "provider_failed",
    /// Predict failed.
    InferenceFailed = "inference_failed",
    /// The worker ends.
    ShuttingDown = "shutting_down",
    /// A fault of the worker.
    Internal = "internal",
    /// The request's worker is gone.
    WorkerDied = "worker_died",
    /// The worker could not be started, or did not take the configuration.
    HandshakeRefused = "handshake_refused",
    /// The worker gave no sign of life while it started.
    StartTimedOut = "start_timed_out",
    /// The call's own `timeout` has passed.
    TimedOut = "timed_out",
    /// What the worker wrote cannot be read.
    ProtocolViolation = "protocol_violation",
    /// The call came after `close` or `kill`.
    Closed = "closed",
    /// There is no room now.
    Busy = "busy",
    /// Every slot of the ring is in use.
    RingFull = "ring_full",
    /// The slot was handed over or released before.
    StaleSlot = "stale_slot",
}

impl Code {
    fn of(text: &str) -> Self {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.as_str())
    }
}
