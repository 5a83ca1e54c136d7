//! Everything that a private key could be written as, and a search for pieces of it: a copy that was broken by a line's end, or
//! half overwritten, is found, too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use anyhow::Result;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use super::scalars::Scalar;

/// Bytes of a piece: no others are the same by chance.
const PIECE: usize = 16;
/// Bytes by which pieces are told apart at first.
const HEAD: usize = 8;
const BUFFER: usize = 1 << 20;

/// Pieces of keys, each of which gives its key away.
pub(super) struct Needles {
    /// By their first bytes.
    by_head: BTreeMap<[u8; HEAD], Vec<Needle>>,
    /// Whether a piece begins with these two bytes.
    begins: Vec<bool>,
    /// Whether one goes on with these two behind them.
    goes_on: Vec<bool>,
}

struct Needle {
    rest: [u8; PIECE - HEAD],
    key: usize,
}

impl Needles {
    pub(super) fn of(keys: &[Scalar]) -> Self {
        let mut needles = Self {
            by_head: BTreeMap::new(),
            begins: vec![false; 1 << 16],
            goes_on: vec![false; 1 << 16],
        };
        for (key, scalar) in keys.iter().enumerate() {
            for piece in pieces(&scalar.big_endian) {
                let (head, rest) = piece.split_at(HEAD);
                let (Ok(head), Ok(rest)) = (<[u8; HEAD]>::try_from(head), rest.try_into()) else {
                    continue;
                };
                needles.begins[first_two(&head)] = true;
                needles.goes_on[first_two(&head[2..])] = true;
                let same_head = needles.by_head.entry(head).or_default();
                same_head.push(Needle { rest, key });
            }
        }
        needles
    }

    /// Which keys there are pieces of, by their number.
    pub(super) fn search(&self, within: &mut impl Read) -> Result<BTreeSet<usize>> {
        let mut found = BTreeSet::new();
        let mut buffer = Vec::with_capacity(BUFFER + PIECE);
        loop {
            let read = within.take(BUFFER as u64).read_to_end(&mut buffer)?;
            self.search_bytes(&buffer, &mut found);
            if read == 0 {
                return Ok(found);
            }
            // A piece may begin here and end in what comes next.
            buffer.drain(..buffer.len().saturating_sub(PIECE - 1));
        }
    }

    fn search_bytes(&self, bytes: &[u8], found: &mut BTreeSet<usize>) {
        for piece in bytes.windows(PIECE) {
            if !self.begins[first_two(piece)] || !self.goes_on[first_two(&piece[2..])] {
                continue;
            }
            let (head, rest) = piece.split_at(HEAD);
            let same_head = <[u8; HEAD]>::try_from(head).ok();
            let same_head = same_head.and_then(|head| self.by_head.get(&head));
            let same = same_head.into_iter().flatten();
            found.extend(
                same.filter(|needle| needle.rest == *rest)
                    .map(|needle| needle.key),
            );
        }
    }
}

const fn first_two(bytes: &[u8]) -> usize {
    bytes[0] as usize | (bytes[1] as usize) << 8
}

/// Pieces of every form. DER (PKCS #8, SEC 1) has the number as it is, PEM its base64.
fn pieces(big_endian: &[u8]) -> BTreeSet<Vec<u8>> {
    let little_endian: Vec<_> = big_endian.iter().rev().copied().collect();
    let mut pieces = BTreeSet::new();
    for bytes in [big_endian, &little_endian] {
        pieces.extend(bytes.windows(PIECE).map(<[u8]>::to_vec));
        for part in bytes.windows(PIECE / 2) {
            pieces.insert(hex::encode(part).into_bytes());
            pieces.insert(hex::encode_upper(part).into_bytes());
        }
        // Three bytes are four characters, wherever the number begins within the three.
        for part in bytes.windows(PIECE / 4 * 3) {
            pieces.insert(BASE64_STANDARD_NO_PAD.encode(part).into_bytes());
            pieces.insert(BASE64_URL_SAFE_NO_PAD.encode(part).into_bytes());
        }
    }
    pieces
}
