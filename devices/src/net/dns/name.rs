//! Domain names in messages (RFC 1035 sections 3.1 and 4.1.4).

use std::fmt::Write;

use super::message::{DnsError, HEADER};

/// Most bytes of a name, with the sizes of its labels.
const MAX_NAME: usize = 255;
/// Most pointers of a name: as many as it may have labels.
///
/// Known attack: a chain of pointers in a large message, at whose end each of its records begins.
const MAX_POINTERS: usize = 127;
/// The two high bits of a byte that is no label's size.
const KIND: u8 = 0xc0;

/// A name: its labels in lower case, each behind its size, without the empty one at the end.
///
/// Known attack: a label with a dot in it is taken for two. Names are compared as they are here, and become text only where no label has
/// any byte that could be misread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Name(Vec<u8>);

impl Name {
    /// The name at `at`, and where what follows it begins.
    ///
    /// Known attack: a name that points at itself is read for ever. Each pointer goes to before all that was read of its name.
    pub(super) fn read(message: &[u8], at: usize) -> Result<(Self, usize), DnsError> {
        let mut labels = Vec::new();
        let (mut at, mut earliest, mut end) = (at, at, None);
        let mut pointers = 0;
        loop {
            let size = *message.get(at).ok_or(DnsError::Truncated)?;
            match size & KIND {
                0 if size == 0 => return Ok((Self(labels), end.unwrap_or(at + 1))),
                0 => {
                    let next = at + 1 + usize::from(size);
                    let label = message.get(at..next).ok_or(DnsError::Truncated)?;
                    labels.extend(label.iter().map(u8::to_ascii_lowercase));
                    // The empty label at the end counts.
                    if labels.len() >= MAX_NAME {
                        return Err(DnsError::NameTooLong);
                    }
                    at = next;
                }
                KIND => {
                    let low = *message.get(at + 1).ok_or(DnsError::Truncated)?;
                    let to = usize::from(u16::from_be_bytes([size & !KIND, low]));
                    pointers += 1;
                    if to >= earliest || to < HEADER || pointers > MAX_POINTERS {
                        return Err(DnsError::Pointer);
                    }
                    end = end.or(Some(at + 2));
                    (at, earliest) = (to, to);
                }
                _ => return Err(DnsError::Label),
            }
        }
    }

    /// Bytes that it takes where it points nowhere.
    pub(super) const fn size(&self) -> usize {
        self.0.len() + 1
    }

    /// As policies write it; none of the root, or where a label has other bytes than letters, digits, `-` and `_`.
    pub(super) fn text(&self) -> Option<String> {
        let mut text = String::new();
        let mut rest = self.0.as_slice();
        while let Some((size, labels)) = rest.split_first() {
            let (label, others) = labels.split_at_checked(usize::from(*size))?;
            let label = std::str::from_utf8(label).ok()?;
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if !label.bytes().all(is_plain) {
                return None;
            }
            let dot = if text.is_empty() { "" } else { "." };
            write!(text, "{dot}{label}").ok()?;
            rest = others;
        }
        (!text.is_empty()).then_some(text)
    }
}
