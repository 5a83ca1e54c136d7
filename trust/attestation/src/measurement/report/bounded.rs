//! A report's lists, bounded while they are decoded: an entry can take three bytes of a message and ten times that in
//! memory, so that counting what was decoded would come too late.

use minicbor::decode::Error;
use minicbor::{Decode, Decoder};

use super::{Mapping, MeasuredRegion, Report, ResolvedProcess};

/// A list has more entries than a report may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the report has too many {0}")]
pub(super) struct TooManyError(pub(super) &'static str);

pub(super) fn regions<'b, C>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<MeasuredRegion>, Error> {
    list(decoder, context, "regions", Report::MAX_MAPPINGS)
}

pub(super) fn mappings<'b, C>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<Mapping>, Error> {
    list(decoder, context, "mappings", Report::MAX_MAPPINGS)
}

/// The processes, whose mappings together are no more than a report may have.
pub(super) fn processes<'b, C>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
) -> Result<Vec<ResolvedProcess>, Error> {
    let mut processes: Vec<ResolvedProcess> = Vec::new();
    let mut mappings = 0_usize;
    for _ in 0..length(decoder, "processes", Report::MAX_PROCESSES)? {
        let process: ResolvedProcess = decoder.decode_with(context)?;
        mappings = mappings.saturating_add(process.mappings.len());
        if mappings > Report::MAX_MAPPINGS {
            return Err(Error::custom(TooManyError("mappings")));
        }
        processes.push(process);
    }
    Ok(processes)
}

fn list<'b, C, T: Decode<'b, C>>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
    name: &'static str,
    most: usize,
) -> Result<Vec<T>, Error> {
    (0..length(decoder, name, most)?)
        .map(|_| decoder.decode_with(context))
        .collect()
}

fn length(decoder: &mut Decoder<'_>, name: &'static str, most: usize) -> Result<u64, Error> {
    let length = decoder
        .array()?
        .ok_or_else(|| Error::message("a list of definite length is due"))?;
    if length > most as u64 {
        return Err(Error::custom(TooManyError(name)));
    }
    Ok(length)
}
