//! Enumerations, from and to their numbers. Protobuf's 0, which is also what is not there, is none of them.

use super::{CommandKind, CommandOutcome, MessageError, RefusalReason, Trust};
use crate::wire;

/// Both directions of an enumeration that has the same words here and there.
macro_rules! words {
    ($word:ident, $field:literal: $($variant:ident),+) => {
        impl TryFrom<wire::$word> for $word {
            type Error = MessageError;

            fn try_from(read: wire::$word) -> Result<Self, MessageError> {
                match read {
                    wire::$word::Unspecified => Err(MessageError::Field {
                        field: $field,
                        expected: "one of its values that are known",
                    }),
                    $(wire::$word::$variant => Ok(Self::$variant),)+
                }
            }
        }

        impl From<$word> for wire::$word {
            fn from(word: $word) -> Self {
                match word {
                    $($word::$variant => Self::$variant,)+
                }
            }
        }
    };
}

words!(RefusalReason, "policy_refused.reason": Rollback, Author, Malformed, Failed);
words!(CommandOutcome, "command_done.outcome": Done, NoGuest, Failed);
words!(Trust, "appraisal.trust": None, Affirming, Contraindicated);
words!(CommandKind, "command.kind": Isolate, Release);
