//! BTF, the kernel's type information.
//!
//! Source: Linux, Documentation/bpf/btf.rst and include/uapi/linux/btf.h.

mod layout;
mod record;
#[cfg(test)]
mod tests;

use crate::little_endian::{u8_at, u16_at, u32_at};
use record::{Kind, Record};

pub use layout::{Bits, Field};

/// More types than this are refused. Distributions' kernels have 90,000 to 200,000.
pub const MAX_TYPES: usize = 1 << 20;

/// The longest name in bytes; of a longer one, only so much is looked at. The kernel's own limit is 512.
const NAME_LIMIT: usize = 1024;

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;

/// Why type information could not be parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BtfError {
    /// The section does not start with BTF's magic and version.
    #[error("no BTF of version 1 in little-endian order")]
    NoMagic,
    /// A part passes the end of the section.
    #[error("the BTF section is truncated")]
    Truncated,
    /// A type is of a kind that is not known, so that its length is not either.
    #[error("type {id} is of the unknown BTF kind {kind}")]
    UnknownKind {
        /// The type's number.
        id: u32,
        /// Its kind.
        kind: u32,
    },
    /// There are too many types.
    #[error("more than {MAX_TYPES} types")]
    TooMany,
}

/// All types of a kernel.
#[derive(Debug)]
pub struct Btf {
    types: Box<[u8]>,
    strings: Box<[u8]>,
    /// Where each type starts in `types`; the first is number 1, as 0 is `void`.
    starts: Vec<u32>,
    /// The numbers of all types that are looked up by name, sorted by it; structs and unions stand first among
    /// those of the same name.
    by_name: Vec<u32>,
}

impl Btf {
    /// Parses a `.BTF` section.
    ///
    /// # Errors
    ///
    /// [`BtfError`] where it is damaged or of a later version.
    pub fn parse(section: &[u8]) -> Result<Self, BtfError> {
        if u16_at(section, 0) != Some(MAGIC) || u8_at(section, 2) != Some(1) {
            return Err(BtfError::NoMagic);
        }
        let (types, strings) = parts(section).ok_or(BtfError::Truncated)?;
        let mut btf = Self {
            types: types.into(),
            strings: strings.into(),
            starts: starts(types)?,
            by_name: Vec::new(),
        };
        btf.by_name = btf.named();
        Ok(btf)
    }

    /// How many types there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The value of an enumerator, such as `maple_leaf_64` of `maple_type`.
    #[must_use]
    pub fn enumerator(&self, of: &str, name: &str) -> Option<i64> {
        let (_, record) = self.lookup(of, Kind::is_enum)?;
        record
            .enumerators()
            .find(|enumerator| self.string(enumerator.name) == name.as_bytes())
            .map(|enumerator| enumerator.value)
    }

    /// The type number `id`; `None` for `void` and for numbers that are none.
    fn record(&self, id: u32) -> Option<Record<'_>> {
        let start = *self.starts.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
        Record::at(&self.types, start as usize)
    }

    /// The string at `offset`, without its NUL; empty where there is none.
    fn string(&self, offset: u32) -> &[u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        let rest = rest.get(..NAME_LIMIT).unwrap_or(rest);
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// The first type called `name` that is `wanted`.
    fn lookup(&self, name: &str, wanted: impl Fn(Kind) -> bool) -> Option<(u32, Record<'_>)> {
        let name = name.as_bytes();
        let first = self.by_name.partition_point(|&id| self.name_of(id) < name);
        self.by_name
            .iter()
            .skip(first)
            .take_while(|&&id| self.name_of(id) == name)
            .find_map(|&id| Some((id, self.record(id).filter(|record| wanted(record.kind))?)))
    }

    fn name_of(&self, id: u32) -> &[u8] {
        self.record(id)
            .map_or(&[], |record| self.string(record.name))
    }

    /// See the field `by_name`.
    fn named(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = (1u32..)
            .take(self.len())
            .filter(|&id| {
                let record = self.record(id);
                record.is_some_and(|record| record.name != 0 && record.kind.is_looked_up())
            })
            .collect();
        ids.sort_by_cached_key(|&id| {
            let kind = self.record(id).map(|record| record.kind);
            let last = !kind.is_some_and(Kind::is_aggregate);
            (self.name_of(id), last, id)
        });
        ids
    }
}

/// The type and the string part.
fn parts(section: &[u8]) -> Option<(&[u8], &[u8])> {
    let number = |at| usize::try_from(u32_at(section, at)?).ok();
    let header = number(4)?;
    if header < HEADER {
        return None;
    }
    let body = section.get(header..)?;
    let part = |at| body.get(number(at)?..)?.get(..number(at + 4)?);
    Some((part(8)?, part(16)?))
}

/// Where each type starts.
fn starts(types: &[u8]) -> Result<Vec<u32>, BtfError> {
    let mut starts = Vec::new();
    let mut next = 0;
    while next < types.len() {
        if starts.len() == MAX_TYPES {
            return Err(BtfError::TooMany);
        }
        let start = u32::try_from(next).map_err(|_| BtfError::TooMany)?;
        let length = match record::length_at(types, next).ok_or(BtfError::Truncated)? {
            Ok(length) => length,
            Err(kind) => {
                let id = u32::try_from(starts.len() + 1).map_err(|_| BtfError::TooMany)?;
                return Err(BtfError::UnknownKind { id, kind });
            }
        };
        starts.push(start);
        next += length;
    }
    match next == types.len() {
        true => Ok(starts),
        false => Err(BtfError::Truncated),
    }
}
