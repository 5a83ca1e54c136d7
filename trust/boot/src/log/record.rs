//! A record of the log.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{RecordError, json};
use crate::{Event, Register, Sha384};

/// The keys are those of the format's CBOR encoding.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    #[n(0)]
    recnum: u32,
    #[n(1)]
    pcr: u32,
    #[n(3)]
    digests: Vec<RecordDigest>,
    #[n(9)]
    #[serde(with = "json::content_type")]
    content_type: u16,
    #[n(10)]
    content: Content,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
struct RecordDigest {
    #[n(0)]
    #[serde(rename = "hashAlg", with = "json::algorithm")]
    algorithm: u16,
    #[n(1)]
    #[serde(with = "json::hexadecimal")]
    digest: ByteVec,
}

#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
struct Content {
    #[n(0)]
    #[serde(with = "json::event_type")]
    event_type: u32,
    #[n(1)]
    #[serde(with = "json::hexadecimal")]
    event_data: ByteVec,
}

/// `pcclient_std` (CEL 1.0 section 5.1).
pub(super) const PCCLIENT_STD: u16 = 5;
/// `TPM_ALG_SHA384` (TCG Algorithm Registry).
pub(super) const SHA384: u16 = 0x000c;
/// `EV_EVENT_TAG`.
pub(super) const EV_EVENT_TAG: u32 = 6;
/// The tag of this software's events: "BART".
const TAG: u32 = 0x4241_5254;

impl Record {
    pub(super) fn of((recnum, event): (u32, &Event)) -> Self {
        let data = event.data();
        // INVARIANT: an event is a few hundred bytes: a name, digests, numbers.
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let tagged = [&TAG.to_le_bytes()[..], &size.to_le_bytes(), &data].concat();
        Self {
            recnum,
            pcr: event.register.pcr(),
            digests: vec![RecordDigest {
                algorithm: SHA384,
                digest: Sha384::of(&data).0.to_vec().into(),
            }],
            content_type: PCCLIENT_STD,
            content: Content {
                event_type: EV_EVENT_TAG,
                event_data: tagged.into(),
            },
        }
    }

    /// The event, if the record is the one that [`Record::of`] makes of it.
    pub(super) fn event(&self, index: usize) -> Result<Event, RecordError> {
        if usize::try_from(self.recnum) != Ok(index) {
            return Err(RecordError::Number);
        }
        let register = [Register::Measurement, Register::Authority]
            .into_iter()
            .find(|register| register.pcr() == self.pcr)
            .ok_or(RecordError::Register)?;
        let content = (self.content_type, self.content.event_type);
        if content != (PCCLIENT_STD, EV_EVENT_TAG) {
            return Err(RecordError::Content);
        }
        let measured = tagged(&self.content.event_data)
            .and_then(|data| bartizan_cose::cbor::decode_strict(data).ok())
            .ok_or(RecordError::Content)?;
        let event = Event { register, measured };
        let [digest] = self.digests.as_slice() else {
            return Err(RecordError::Digests);
        };
        if digest.algorithm != SHA384 {
            return Err(RecordError::Digests);
        }
        if **digest.digest == event.digest().0 {
            Ok(event)
        } else {
            Err(RecordError::Digest)
        }
    }
}

/// The data of a `TCG_PCClientTaggedEvent` of ours.
fn tagged(bytes: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = bytes.split_first_chunk()?;
    let (size, data) = rest.split_first_chunk()?;
    let fits = u32::from_le_bytes(*tag) == TAG
        && usize::try_from(u32::from_le_bytes(*size)) == Ok(data.len());
    fits.then_some(data)
}
