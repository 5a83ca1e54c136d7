//! System calls as data: which, with which arguments, and why.

use std::ops::RangeInclusive;

/// A line of a table.
#[derive(Clone, Debug)]
pub struct SystemCall {
    /// Its number (`libc::SYS_…`).
    pub number: i64,
    /// With which arguments.
    pub when: When,
    /// What it is allowed for, or forbidden for.
    pub reason: &'static str,
}

/// A condition on the low 32 bits of one argument, counted from zero. What a pointer leads to can never be one: the
/// caller may change it after the filter looked.
#[derive(Clone, Debug)]
pub enum When {
    /// None.
    Always,
    /// It is this value.
    Is(u8, u32),
    /// It is any other value.
    IsNot(u8, u32),
    /// Its bits in the first mask are exactly the second's.
    Bits(u8, u32, u32),
    /// It lies in none of these ranges.
    Outside(u8, Vec<RangeInclusive<u32>>),
}

impl When {
    /// All of these bits of the argument are set.
    #[must_use]
    pub const fn has(argument: u8, bits: i32) -> Self {
        Self::Bits(argument, bits.cast_unsigned(), bits.cast_unsigned())
    }

    /// None of these bits of the argument is set.
    #[must_use]
    pub const fn lacks(argument: u8, bits: i32) -> Self {
        Self::Bits(argument, bits.cast_unsigned(), 0)
    }

    /// The argument is this constant of the C library's.
    #[must_use]
    pub const fn is(argument: u8, value: i32) -> Self {
        Self::Is(argument, value.cast_unsigned())
    }

    /// The argument is not this constant of the C library's.
    #[must_use]
    pub const fn is_not(argument: u8, value: i32) -> Self {
        Self::IsNot(argument, value.cast_unsigned())
    }
}

/// A system call, whatever its arguments.
#[must_use]
pub const fn always(number: i64, reason: &'static str) -> SystemCall {
    SystemCall {
        number,
        when: When::Always,
        reason,
    }
}

/// A system call under a condition. Several lines of one call are alternatives.
#[must_use]
pub const fn only(number: i64, when: When, reason: &'static str) -> SystemCall {
    SystemCall {
        number,
        when,
        reason,
    }
}
