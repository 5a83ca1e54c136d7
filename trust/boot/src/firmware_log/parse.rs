//! Bytes to a log.

use super::{Algorithm, EventType, FirmwareEvent, FirmwareLog, FirmwareLogError};
use FirmwareLogError as Error;

/// The header's event begins with it.
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";
/// PCRs of a TPM of the PC Client profile.
const PCRS: u32 = 24;
/// Algorithms whose digests have a known length: SHA-1, SHA-256, SHA-384, SHA-512, SM3, SHA3-256, SHA3-384, SHA3-512.
const SIZES: [(u16, usize); 8] = [
    (0x0004, 20),
    (0x000b, 32),
    (0x000c, 48),
    (0x000d, 64),
    (0x0012, 32),
    (0x0027, 32),
    (0x0028, 48),
    (0x0029, 64),
];
/// Longest digest of an algorithm that is not known, in bytes.
const MAX_DIGEST: usize = 64;

pub(super) fn log(bytes: &[u8]) -> Result<FirmwareLog<'_>, Error> {
    if bytes.len() > FirmwareLog::MAX_LEN {
        return Err(Error::TooLarge);
    }
    let mut rest = Reader(bytes);
    let algorithms = header(rest.header_event().ok_or(Error::Header)?)?;
    let header = read(bytes, &rest);
    let mut events = Vec::new();
    while !rest.0.is_empty() {
        if events.len() == FirmwareLog::MAX_EVENTS {
            return Err(Error::TooManyEvents);
        }
        events.push(event(&mut rest, events.len(), &algorithms)?);
    }
    Ok(FirmwareLog {
        header,
        algorithms,
        events,
    })
}

/// What was read of `whole` to come to `rest`.
fn read<'a>(whole: &'a [u8], rest: &Reader<'a>) -> &'a [u8] {
    let count = whole.len().saturating_sub(rest.0.len());
    whole.get(..count).unwrap_or(whole)
}

/// `TCG_EfiSpecIDEvent`: which algorithms each event has a digest of.
fn header(data: &[u8]) -> Result<Vec<Algorithm>, Error> {
    let mut rest = Reader(data);
    if rest.bytes(SPEC_ID.len()) != Some(SPEC_ID) {
        return Err(Error::Header);
    }
    // Class of the platform, version of the profile, size of its integers: nothing here depends on them.
    rest.bytes(4 + 4).ok_or(Error::Header)?;
    let count = rest.u32().ok_or(Error::Header)?;
    let count = usize::try_from(count).map_err(|_| Error::Algorithms)?;
    if !(1..=FirmwareLog::MAX_ALGORITHMS).contains(&count) {
        return Err(Error::Algorithms);
    }
    let mut algorithms: Vec<Algorithm> = Vec::new();
    for _ in 0..count {
        let id = rest.u16().ok_or(Error::Header)?;
        let size = usize::from(rest.u16().ok_or(Error::Header)?);
        let doubled = algorithms.iter().any(|other| other.id == id);
        let known = SIZES.iter().find(|(known, _)| *known == id);
        let fits = known.map_or((1..=MAX_DIGEST).contains(&size), |(_, known)| {
            *known == size
        });
        if doubled || !fits {
            return Err(Error::Algorithm(id));
        }
        algorithms.push(Algorithm { id, size });
    }
    let vendor = rest.u8().ok_or(Error::Header)?;
    rest.bytes(vendor.into()).ok_or(Error::Header)?;
    match rest.0 {
        [] => Ok(algorithms),
        _ => Err(Error::Header),
    }
}

/// `TCG_PCR_EVENT2`.
fn event<'a>(
    rest: &mut Reader<'a>,
    index: usize,
    algorithms: &[Algorithm],
) -> Result<FirmwareEvent<'a>, Error> {
    let (whole, cut) = (rest.0, Error::Cut(index));
    let pcr = rest.u32().ok_or_else(|| cut.clone())?;
    let event_type = EventType(rest.u32().ok_or_else(|| cut.clone())?);
    if pcr >= PCRS && event_type.is_extended() {
        return Err(Error::Pcr { index, pcr });
    }
    let count = rest.u32().ok_or_else(|| cut.clone())?;
    if usize::try_from(count) != Ok(algorithms.len()) {
        return Err(Error::Digests(index));
    }
    let mut digests: Vec<(u16, &[u8])> = Vec::new();
    for _ in algorithms {
        let id = rest.u16().ok_or_else(|| cut.clone())?;
        let algorithm = algorithms.iter().find(|algorithm| algorithm.id == id);
        let algorithm = algorithm.ok_or(Error::Digests(index))?;
        if digests.iter().any(|(other, _)| *other == id) {
            return Err(Error::Digests(index));
        }
        let digest = rest.bytes(algorithm.size).ok_or_else(|| cut.clone())?;
        digests.push((id, digest));
    }
    let data = rest.sized().ok_or(cut)?;
    Ok(FirmwareEvent {
        pcr,
        event_type,
        digests,
        data,
        bytes: read(whole, rest),
    })
}

/// What is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Bytes after their length in four.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let size = usize::try_from(self.u32()?).ok()?;
        self.bytes(size)
    }

    /// `TCG_PCClientPCREvent`, of PCR 0, not extended, its SHA-1 digest zero: the data.
    fn header_event(&mut self) -> Option<&'a [u8]> {
        let fits = self.u32()? == 0 && EventType(self.u32()?) == EventType::NO_ACTION;
        let digest: [u8; 20] = self.array()?;
        let data = self.sized()?;
        (fits && digest == [0; 20]).then_some(data)
    }
}
