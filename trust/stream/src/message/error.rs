//! What a message can be wrong in.

/// A message is refused. The stream ends with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MessageError {
    /// It is no protobuf, or of another type than it says.
    #[error("the message is no protobuf of its type: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// It has more fields than a message of its kind may have.
    #[error("the message has more than {limit} fields")]
    Fields {
        /// The most that there may be.
        limit: usize,
    },
    /// It is of no kind that is known.
    #[error("the message is of no kind that is known")]
    Kind,
    /// It says something that is not understood, or in another way than the one.
    #[error("the message has unknown fields, or is not encoded in the order of its fields")]
    Encoding,
    /// It is too large.
    #[error("the message has {size} bytes; {limit} are the most")]
    Size {
        /// What it has.
        size: usize,
        /// The most that it may.
        limit: usize,
    },
    /// A field has a value that it cannot have.
    #[error("`{field}` is not {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}
