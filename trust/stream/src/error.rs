//! What can become of a stream.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::message::MessageError;

/// A stream did not come to be, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The peer said something that is no message.
    #[error("the peer's message is refused: {0}")]
    Message(#[from] MessageError),
    /// The peer said something that it may not say now.
    #[error("the peer said {found} where {expected} is due")]
    Turn {
        /// What it said.
        found: &'static str,
        /// What was due.
        expected: &'static str,
    },
    /// The stream was ended by the peer with a status, or by the transport under it.
    #[error("the stream has ended ({code:?}): {message}")]
    Ended {
        /// The status.
        code: Code,
        /// Why, for people. By whoever ended it.
        message: String,
    },
    /// The peer has ended the stream, and not said why.
    #[error("the peer has ended the stream")]
    Closed,
    /// HTTP/2 failed.
    #[error("HTTP/2: {0}")]
    Http(#[from] hyper::Error),
    /// The peer's name cannot be put into a request.
    #[error("`{0}` is no name that a request can be for")]
    Name(String),
}

impl StreamError {
    /// Whether the peer refuses this side as it is: to come again at once changes nothing.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Ended {
                code: Code::Unauthenticated
                    | Code::PermissionDenied
                    | Code::InvalidArgument
                    | Code::FailedPrecondition
                    | Code::DataLoss
                    | Code::Unimplemented,
                ..
            }
        )
    }
}

impl From<Status> for StreamError {
    fn from(status: Status) -> Self {
        // What this side's own reading of a message failed with.
        if let Some(error) = status.source().and_then(|of| of.downcast_ref()) {
            return Self::Message(MessageError::clone(error));
        }
        Self::Ended {
            code: status.code(),
            message: status.message().into(),
        }
    }
}
