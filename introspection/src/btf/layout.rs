//! Where members stand, and how large types are.

use super::Btf;
use super::record::{Kind, Record};

/// How many anonymous types, aliases or array dimensions may be nested.
const DEPTH: u32 = 32;

/// How many members are looked at for one element of a path. It bounds the time on hostile type graphs, which
/// can be small and have exponentially many paths through them.
const MEMBERS: u32 = 1 << 16;

/// Where a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its distance from the start of the outermost type, in bytes; of a bit field, that of its first bit's byte.
    pub offset: u64,
    /// Its size in bytes, of an array that of all elements; of a bit field, that of its declared type.
    pub size: u64,
    /// Set for a bit field.
    pub bits: Option<Bits>,
}

/// The bits of a bit field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits {
    /// The lowest one, counted from bit 0 of the byte at [`Field::offset`].
    pub start: u32,
    /// How many there are.
    pub width: u32,
}

/// A member that was found: its type, and its place in bits.
struct Found {
    of: u32,
    bit_offset: u64,
    bit_width: Option<u32>,
}

impl Btf {
    /// The size in bytes of the struct, union, enum, integer or typedef `name`; of a struct before a typedef.
    #[must_use]
    pub fn size_of(&self, name: &str) -> Option<u64> {
        let (id, _) = self.lookup(name, Kind::is_looked_up)?;
        self.size(id)
    }

    /// Where the member that `path` leads to stands in the struct, union or typedef `of`. Anonymous structs and
    /// unions are looked through, as in C. `None` where a name is unknown.
    #[must_use]
    pub fn field(&self, of: &str, path: &[&str]) -> Option<Field> {
        let (mut id, _) = self.lookup(of, |kind| kind.is_aggregate() || kind == Kind::Typedef)?;
        let mut bit_offset = 0;
        let mut bit_width = None;
        for &name in path {
            let mut budget = MEMBERS;
            let found = self.member(id, name.as_bytes(), DEPTH, &mut budget)?;
            id = found.of;
            bit_offset += found.bit_offset;
            bit_width = found.bit_width;
        }
        let bits = bit_width.map(|width| Bits {
            start: u32::from(bit_offset.to_le_bytes()[0] & 7),
            width,
        });
        Some(Field {
            offset: bit_offset / 8,
            size: self.size(id)?,
            bits,
        })
    }

    /// The member `name` of the type `id`, which may be an alias of a struct or union.
    fn member(&self, id: u32, name: &[u8], depth: u32, budget: &mut u32) -> Option<Found> {
        let (_, record) = self.without_aliases(id)?;
        for member in record.members() {
            *budget = budget.checked_sub(1)?;
            let bit_offset = u64::from(member.bit_offset);
            if member.name != 0 {
                if self.string(member.name) == name {
                    return Some(Found {
                        of: member.of,
                        bit_offset,
                        bit_width: member.bit_width,
                    });
                }
            } else if let Some(deeper) = depth.checked_sub(1)
                && let Some(found) = self.member(member.of, name, deeper, budget)
            {
                return Some(Found {
                    bit_offset: bit_offset + found.bit_offset,
                    ..found
                });
            }
        }
        None
    }

    /// The size of a type in bytes.
    fn size(&self, id: u32) -> Option<u64> {
        let mut elements: u64 = 1;
        let mut id = id;
        for _ in 0..DEPTH {
            let (_, record) = self.without_aliases(id)?;
            match record.kind {
                Kind::Array => {
                    let (of, count) = record.array()?;
                    elements = elements.checked_mul(u64::from(count))?;
                    id = of;
                }
                Kind::Pointer => return elements.checked_mul(8),
                Kind::Int
                | Kind::Float
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64 => {
                    return elements.checked_mul(u64::from(record.size_or_type));
                }
                _ => return None,
            }
        }
        None
    }

    /// What `id` is behind typedefs and qualifiers.
    fn without_aliases(&self, id: u32) -> Option<(u32, Record<'_>)> {
        let mut id = id;
        for _ in 0..DEPTH {
            let record = self.record(id)?;
            if !record.kind.is_alias() {
                return Some((id, record));
            }
            id = record.size_or_type;
        }
        None
    }
}
