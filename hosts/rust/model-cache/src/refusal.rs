//! Every reason not to serve, with its gRPC status and a text that a person understands.

use std::io;

use tonic::{Code, Status};

use crate::paths::{echo, PathError};

/// Why a file is not served, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A name that is never served.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A link on the way points out of the root.
    #[error("{} leads out of the served folder by a link", echo(.0))]
    LeadsOut(String),
    /// There is no folder of this model.
    #[error("there is no model {}", echo(.0))]
    NoModel(String),
    /// The model is there, the file is not.
    #[error("model {} has no file {}", echo(.model), echo(.file))]
    NoFile {
        /// The model asked for.
        model: String,
        /// The file asked for.
        file: String,
    },
    /// A folder, a pipe, a device.
    #[error("{} is {kind}, not a file", echo(.file))]
    NotAFile {
        /// The file asked for.
        file: String,
        /// What it is instead.
        kind: &'static str,
    },
    /// The server's own user may not read it.
    #[error("the server may not read {}", echo(.0))]
    Denied(String),
    /// The file became another one while it was streamed.
    #[error("the file changed while it was read, after {read} of {total} bytes; ask again")]
    Changed {
        /// How many bytes of it were read in good order, in bytes.
        read: u64,
        /// The size that was promised, in bytes.
        total: u64,
    },
    /// All streams are taken.
    #[error("all {0} streams of this server are taken; try again later")]
    Busy(usize),
    /// The disk failed. The system's words tell of no path.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Refusal {
    /// The status that a client branches on.
    pub fn code(&self) -> Code {
        match self {
            Self::Path(_) | Self::LeadsOut(_) => Code::InvalidArgument,
            Self::NoModel(_) | Self::NoFile { .. } => Code::NotFound,
            Self::NotAFile { .. } => Code::FailedPrecondition,
            Self::Denied(_) => Code::PermissionDenied,
            // A writer got between: the whole call is worth repeating.
            Self::Changed { .. } => Code::Aborted,
            // The one code on which clients of this contract wait and try again.
            Self::Busy(_) => Code::Unavailable,
            Self::Io(_) => Code::Internal,
        }
    }
}

impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}
