//! The checksum of Internet protocols (RFC 1071).

/// The ones' complement sum of bytes, as big-endian words; each part but the last has an even size.
#[must_use]
pub fn sum<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> u16 {
    let words = parts.into_iter().flat_map(|part| part.chunks(2));
    let total: u64 = words
        .map(|word| match *word {
            [high, low] => u64::from(u16::from_be_bytes([high, low])),
            [high] => u64::from(high) << 8,
            _ => 0,
        })
        .sum();
    fold(total)
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 section 3.
    #[test]
    fn the_rfcs_example_sums_up() {
        assert_eq!(
            sum([[0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7].as_slice()]),
            0xddf2
        );
        assert_eq!(sum([[0xff, 0xff].as_slice(), &[0, 1], &[1]]), 0x0101);
    }
}
