//! Ranges of numbers.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::shown::shown;

/// A number, or all from one to another: `443`, `8000-8100`. Hexadecimal as `0x1f`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range<T> {
    first: T,
    last: T,
}

/// It is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoRange {
    /// It is written otherwise.
    #[error("`{text}` is no range of numbers up to {most}: write 443, 0x1bb or 8000-8100")]
    Malformed {
        /// What was written.
        text: String,
        /// The largest number.
        most: u64,
    },
    /// It ends before it begins.
    #[error("`{0}` ends before it begins")]
    Backwards(String),
}

/// A number that ranges can be of.
pub trait Number: Copy + Ord + TryFrom<u64> + Into<u64> {
    /// The largest.
    const MOST: u64;
}

impl Number for u8 {
    const MOST: u64 = u8::MAX as u64;
}
impl Number for u16 {
    const MOST: u64 = u16::MAX as u64;
}
impl Number for u32 {
    const MOST: u64 = u32::MAX as u64;
}
impl Number for u64 {
    const MOST: u64 = u64::MAX;
}

impl<T: Number> Range<T> {
    /// From one to another, both in it; none where it would end before it begins.
    pub fn new(first: T, last: T) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The first.
    pub const fn first(&self) -> T {
        self.first
    }

    /// The last.
    pub const fn last(&self) -> T {
        self.last
    }

    /// The first and the last.
    pub fn bounds(&self) -> (u128, u128) {
        let wide = |number: T| u128::from(number.into());
        (wide(self.first), wide(self.last))
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: T) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

impl<T: Number> FromStr for Range<T> {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, NoRange> {
        let number = |digits: &str| {
            let number = match digits.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok(),
                None => digits.parse::<u64>().ok(),
            };
            // A sign is no digit.
            let number = number.filter(|_| !digits.contains('+'));
            number
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| NoRange::Malformed {
                    text: shown(text),
                    most: T::MOST,
                })
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (number(first.trim_end())?, number(last.trim_start())?),
            None => (number(text)?, number(text)?),
        };
        Self::new(first, last).ok_or_else(|| NoRange::Backwards(shown(text)))
    }
}

impl<T: Number> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.bounds();
        if first == last {
            write!(f, "{first}")
        } else {
            write!(f, "{first}-{last}")
        }
    }
}

impl<T: Number> Serialize for Range<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            to.serialize_u64(self.first.into())
        } else {
            to.collect_str(self)
        }
    }
}

impl<'de, T: Number> Deserialize<'de> for Range<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Written<T>(PhantomData<T>);

        impl<T: Number> Visitor<'_> for Written<T> {
            type Value = Range<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number up to {}, or a range like 8000-8100", T::MOST)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Range<T>, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Range<T>, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Range<T>, E> {
                text.parse().map_err(E::custom)
            }
        }

        from.deserialize_any(Written(PhantomData))
    }
}
