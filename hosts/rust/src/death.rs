//! How a worker ended.

use std::fmt;

/// Lines of stderr that are kept for the error.
pub(crate) const STDERR_TAIL_LINES: usize = 30;

/// How a worker process ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Death {
    /// Which process of this worker it was, from 1.
    pub generation: u64,
    /// Why.
    pub reason: Reason,
    /// Its exit status; `None` if a signal ended it, or if it is not known.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last 30 lines that it wrote to stderr.
    pub stderr_tail: Vec<String>,
    /// How many requests had gone to it and were not answered.
    pub in_flight: usize,
}

/// Why a worker process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// By itself, or by somebody else's signal.
    Exited,
    /// The library asked it to: `close`.
    Closed,
    /// The library asked it to: another has taken its place.
    Recycled,
    /// `kill`, or every handle to the worker was dropped.
    Killed,
    /// It gave no sign of life after a `ping`, and was killed.
    Unresponsive,
    /// It gave no sign of life while it started, and was killed.
    StartTimedOut,
    /// What it wrote could not be read, and it was killed.
    ProtocolViolation(String),
    /// It refused the configuration, in these words.
    Refused(String),
    /// The program could not be started.
    NotStarted(String),
}

impl Reason {
    /// The reason as one word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Closed => "closed",
            Self::Recycled => "recycled",
            Self::Killed => "killed",
            Self::Unresponsive => "unresponsive",
            Self::StartTimedOut => "start_timed_out",
            Self::ProtocolViolation(_) => "protocol_violation",
            Self::Refused(_) => "refused",
            Self::NotStarted(_) => "not_started",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited => to.write_str("it ended"),
            Self::Closed => to.write_str("it was closed"),
            Self::Recycled => to.write_str("another has taken its place"),
            Self::Killed => to.write_str("it was killed by this host"),
            Self::Unresponsive => to.write_str("it was unresponsive"),
            Self::StartTimedOut => to.write_str("it gave no sign of life while it started"),
            Self::ProtocolViolation(text) => write!(to, "its answers cannot be read ({text})"),
            Self::Refused(text) => to.write_str(text),
            Self::NotStarted(text) => write!(to, "it cannot be started ({text})"),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "worker {} died: {}", self.generation, self.reason)?;
        if let Some(code) = self.exit_code {
            write!(to, ", exit status {code}")?;
        }
        if let Some(signal) = self.signal {
            write!(to, ", signal {signal}")?;
        }
        let Some(line) = self.stderr_tail.last() else { return Ok(()) };
        write!(to, "; its last words: {line}")?;
        if line.contains("No module named worker") {
            to.write_str("; install inferpipe there, or name a Python that has it with `Config::command`")?;
        }
        Ok(())
    }
}
