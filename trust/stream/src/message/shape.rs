//! The one shape of a message: how many fields it has, counted before anything is made of them, and that nothing is in it but what
//! is read.

use prost::Message;
use prost::bytes::{Buf as _, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::MessageError;

/// Reads a message of at most `size` bytes, of which its kind has at most `fields` fields, and that is encoded in the one way.
pub(super) fn canonical<M: Message + Default>(
    message: &Bytes,
    size: usize,
    fields: usize,
) -> Result<M, MessageError> {
    if message.len() > size {
        return Err(MessageError::Size {
            size: message.len(),
            limit: size,
        });
    }
    count(message.clone(), fields)?;
    let read = M::decode(message.clone())?;
    // Of a field that is not known, nothing is left.
    if read.encoded_len() != message.len() || read.encode_to_vec() != *message {
        return Err(MessageError::Encoding);
    }
    Ok(read)
}

/// Checks that the message is one field, a message itself that has at most `limit` fields.
fn count(mut message: Bytes, limit: usize) -> Result<(), MessageError> {
    let (_, wire) = decode_key(&mut message)?;
    if wire != WireType::LengthDelimited {
        return Err(MessageError::Kind);
    }
    if decode_varint(&mut message)? != message.remaining() as u64 {
        // Shorter: something follows. Longer: it was cut.
        return Err(MessageError::Encoding);
    }
    let mut fields = 0;
    while message.has_remaining() {
        fields += 1;
        if fields > limit {
            return Err(MessageError::Fields { limit });
        }
        let (tag, wire) = decode_key(&mut message)?;
        skip_field(wire, tag, &mut message, DecodeContext::default())?;
    }
    Ok(())
}
