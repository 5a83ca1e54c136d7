//! Several byte strings in one input: each behind its length, a big-endian `u16`.

/// The pieces of an input; the last one may be cut short, so that every input has a meaning.
#[must_use]
pub fn split(mut input: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece.to_vec());
        input = behind;
    }
    pieces
}

/// The input with these pieces.
///
/// # Panics
///
/// Where a piece is longer than 65,535 bytes.
#[must_use]
pub fn join(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut input = Vec::new();
    for piece in pieces {
        let length = u16::try_from(piece.len()).expect("a piece has at most 65,535 bytes");
        input.extend(length.to_be_bytes());
        input.extend(piece);
    }
    input
}
