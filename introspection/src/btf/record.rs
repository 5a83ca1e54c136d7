//! One type as it is written: twelve bytes that all have, and what its kind adds.

use crate::little_endian::u32_at;

/// `struct btf_type`, in bytes.
const FIXED: usize = 12;

/// `struct btf_member` and `struct btf_enum64`, in bytes.
const MEMBER: usize = 12;

/// `struct btf_enum`, in bytes.
const ENUM32: usize = 8;

/// Kinds, with the numbers of `BTF_KIND_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Int = 1,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    Forward,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Function,
    FunctionPrototype,
    Variable,
    DataSection,
    Float,
    DeclarationTag,
    TypeTag,
    Enum64,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Int,
        Self::Pointer,
        Self::Array,
        Self::Struct,
        Self::Union,
        Self::Enum,
        Self::Forward,
        Self::Typedef,
        Self::Volatile,
        Self::Const,
        Self::Restrict,
        Self::Function,
        Self::FunctionPrototype,
        Self::Variable,
        Self::DataSection,
        Self::Float,
        Self::DeclarationTag,
        Self::TypeTag,
        Self::Enum64,
    ];

    fn from_number(number: u32) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    pub(super) const fn is_aggregate(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }

    pub(super) const fn is_enum(self) -> bool {
        matches!(self, Self::Enum | Self::Enum64)
    }

    /// Kinds that only lead to another type of the same size.
    pub(super) const fn is_alias(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }

    /// Kinds that have a size and a name of their own.
    pub(super) const fn is_looked_up(self) -> bool {
        matches!(
            self,
            Self::Struct
                | Self::Union
                | Self::Typedef
                | Self::Enum
                | Self::Enum64
                | Self::Int
                | Self::Float
        )
    }

    /// Bytes behind the twelve fixed ones, for `count` members, enumerators, parameters or variables.
    const fn tail(self, count: usize) -> usize {
        match self {
            Self::Int | Self::Variable | Self::DeclarationTag => 4,
            Self::Array => 12,
            Self::Struct | Self::Union | Self::DataSection | Self::Enum64 => MEMBER * count,
            Self::Enum | Self::FunctionPrototype => ENUM32 * count,
            _ => 0,
        }
    }
}

/// A type.
#[derive(Clone, Copy)]
pub(super) struct Record<'b> {
    pub(super) kind: Kind,
    /// An offset into the strings.
    pub(super) name: u32,
    /// The size in bytes or the number of another type, as the kind has it.
    pub(super) size_or_type: u32,
    /// What it means depends on the kind.
    flag: bool,
    tail: &'b [u8],
}

/// A member of a struct or union.
pub(super) struct Member {
    /// An offset into the strings.
    pub(super) name: u32,
    /// The number of its type.
    pub(super) of: u32,
    /// Where it starts, in bits.
    pub(super) bit_offset: u32,
    /// Its width in bits if it is a bit field.
    pub(super) bit_width: Option<u32>,
}

/// An enumerator.
pub(super) struct Enumerator {
    /// An offset into the strings.
    pub(super) name: u32,
    pub(super) value: i64,
}

impl<'b> Record<'b> {
    /// The type that starts at `start`; `None` for a truncated or unknown one.
    pub(super) fn at(types: &'b [u8], start: usize) -> Option<Self> {
        let info = u32_at(types, start.checked_add(4)?)?;
        let length = length_at(types, start)?.ok()?;
        let tail = types.get(start..)?.get(FIXED..length)?;
        Some(Self {
            kind: Kind::from_number(kind_number(info))?,
            name: u32_at(types, start)?,
            size_or_type: u32_at(types, start + 8)?,
            flag: info >> 31 != 0,
            tail,
        })
    }

    /// The type of an array's elements, and their number.
    pub(super) fn array(&self) -> Option<(u32, u32)> {
        match self.kind {
            Kind::Array => Some((u32_at(self.tail, 0)?, u32_at(self.tail, 8)?)),
            _ => None,
        }
    }

    /// The members of a struct or union; of other kinds, none.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        let (tail, flag) = match self.kind.is_aggregate() {
            true => (self.tail, self.flag),
            false => (<&[u8]>::default(), false),
        };
        tail.chunks_exact(MEMBER).filter_map(move |member| {
            let offset = u32_at(member, 8)?;
            // With the flag set, the upper byte is the width of a bit field, or 0.
            let (bit_offset, width) = match flag {
                true => (offset & 0x00ff_ffff, offset >> 24),
                false => (offset, 0),
            };
            Some(Member {
                name: u32_at(member, 0)?,
                of: u32_at(member, 4)?,
                bit_offset,
                bit_width: (width != 0).then_some(width),
            })
        })
    }

    /// The enumerators of an enum; of other kinds, none.
    pub(super) fn enumerators(&self) -> impl Iterator<Item = Enumerator> {
        let (tail, size) = match self.kind {
            Kind::Enum => (self.tail, ENUM32),
            Kind::Enum64 => (self.tail, MEMBER),
            _ => (<&[u8]>::default(), MEMBER),
        };
        let signed = self.flag;
        tail.chunks_exact(size).filter_map(move |enumerator| {
            let low = u32_at(enumerator, 4)?;
            let value = match u32_at(enumerator, 8) {
                Some(high) => (u64::from(high) << 32 | u64::from(low)).cast_signed(),
                None if signed => i64::from(low.cast_signed()),
                None => i64::from(low),
            };
            Some(Enumerator {
                name: u32_at(enumerator, 0)?,
                value,
            })
        })
    }
}

/// How long the type at `start` is, in bytes; or its kind, where that is unknown; or `None` where it would pass
/// the end of `types`.
pub(super) fn length_at(types: &[u8], start: usize) -> Option<Result<usize, u32>> {
    let info = u32_at(types, start.checked_add(4)?)?;
    let number = kind_number(info);
    let Some(kind) = Kind::from_number(number) else {
        return Some(Err(number));
    };
    let length = FIXED + kind.tail((info & 0xffff) as usize);
    let end = start.checked_add(length)?;
    (end <= types.len()).then_some(Ok(length))
}

const fn kind_number(info: u32) -> u32 {
    info >> 24 & 0x1f
}
