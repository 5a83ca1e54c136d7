//! The token table: what each byte of a compressed name stands for.

use crate::little_endian::u16_at;

/// What ASCII digits stand for in every table: themselves. So these bytes are in every kernel.
const DIGITS: &[u8; 20] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";

const COUNT: usize = 256;

/// The 256 tokens and where they stand.
pub(super) struct Tokens<'d> {
    tokens: Vec<&'d [u8]>,
    start: usize,
    end: usize,
}

impl<'d> Tokens<'d> {
    /// Finds the table in `data`: the digits, confirmed by the index that follows the table.
    pub(super) fn find(data: &'d [u8]) -> Option<Self> {
        data.windows(DIGITS.len())
            .enumerate()
            .filter(|(_, window)| *window == DIGITS)
            .find_map(|(digits, _)| Self::around(data, digits))
    }

    /// The table whose token for `0` is at `digits`.
    fn around(data: &'d [u8], digits: usize) -> Option<Self> {
        let mut table_end = digits;
        for _ in usize::from(b'0')..COUNT {
            table_end += token_at(data, table_end)?.len() + 1;
        }
        // The assembler aligns what follows to 8 bytes, in kernels that need no more to 4.
        [8, 4].into_iter().find_map(|alignment| {
            Self::indexed(data, digits, table_end.next_multiple_of(alignment))
        })
    }

    /// The table that the index at `index` describes, if it describes one.
    fn indexed(data: &'d [u8], digits: usize, index: usize) -> Option<Self> {
        let offset = |code: usize| u16_at(data, index + 2 * code).map(usize::from);
        let start = digits.checked_sub(offset(usize::from(b'0'))?)?;
        let mut tokens = Vec::with_capacity(COUNT);
        let mut next = start;
        for code in 0..COUNT {
            if start + offset(code)? != next {
                return None;
            }
            let token = token_at(data, next)?;
            next += token.len() + 1;
            tokens.push(token);
        }
        Some(Self {
            tokens,
            start,
            end: index + 2 * COUNT,
        })
    }

    /// Where the table starts.
    pub(super) const fn start(&self) -> usize {
        self.start
    }

    /// Where its index ends.
    pub(super) const fn end(&self) -> usize {
        self.end
    }

    /// What `code` stands for.
    pub(super) fn get(&self, code: u8) -> &'d [u8] {
        self.tokens
            .get(usize::from(code))
            .copied()
            .unwrap_or_default()
    }
}

/// The token at `at`, without its NUL. No token can be longer than an offset of the index can tell.
fn token_at(data: &[u8], at: usize) -> Option<&[u8]> {
    let rest = data.get(at..)?;
    let end = rest
        .iter()
        .take(usize::from(u16::MAX))
        .position(|&byte| byte == 0)?;
    rest.get(..end)
}
