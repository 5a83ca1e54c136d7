use proptest::prelude::*;

use super::*;

/// A frame, as a test makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Frame {
    Open(u32),
    Data(u32, Vec<u8>),
    Close(u32),
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Open(id) => Head::Open(*id).to_bytes().to_vec(),
            Self::Close(id) => Head::Close(*id).to_bytes().to_vec(),
            Self::Data(id, data) => {
                let length = u16::try_from(data.len()).unwrap().try_into().unwrap();
                [&Head::Data(*id, length).to_bytes()[..], data].concat()
            }
        }
    }
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = prop_oneof![
        any::<u32>().prop_map(Frame::Open),
        any::<u32>().prop_map(Frame::Close),
        (any::<u32>(), prop::collection::vec(any::<u8>(), 1..300))
            .prop_map(|(id, data)| Frame::Data(id, data)),
    ];
    prop::collection::vec(frame, 0..12)
}

/// All events in these pieces, data of one frame put together again.
fn read(pieces: &[&[u8]], most: usize) -> Result<Vec<Frame>, PortError> {
    let (mut incoming, mut all) = (Incoming::default(), Vec::new());
    let mut due = 0;
    for piece in pieces {
        let mut bytes = *piece;
        while let Some(event) = incoming.next(&mut bytes, most)? {
            match (event, all.last_mut()) {
                (Event::Data(id, data), Some(Frame::Data(of, known))) if due > 0 => {
                    assert_eq!(id, *of);
                    known.extend_from_slice(data);
                    due -= data.len();
                }
                (Event::Data(id, data), _) => {
                    // The one who reads does not say where a frame ends.
                    due = incoming.data.map_or(0, |(_, left)| left.get().into());
                    all.push(Frame::Data(id, data.to_vec()));
                }
                (Event::Open(id), _) => all.push(Frame::Open(id)),
                (Event::Close(id), _) => all.push(Frame::Close(id)),
            }
        }
        assert!(bytes.is_empty());
    }
    Ok(all)
}

proptest! {
    #[test]
    fn frames_come_as_they_were_sent_however_they_are_cut(
        sent in frames(),
        cuts in prop::collection::vec(1_usize..40, 0..200),
        most in 1_usize..100,
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(Frame::bytes).collect();
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        for cut in cuts {
            let (piece, other) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = other;
        }
        pieces.push(rest);
        prop_assert_eq!(read(&pieces, most), Ok(sent));
    }

    #[test]
    fn anything_is_read_or_refused_and_a_head_has_one_spelling(bytes in prop::array::uniform7(any::<u8>())) {
        if let Ok(head) = Head::from_bytes(bytes) {
            prop_assert_eq!(head.to_bytes(), bytes);
        }
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    let length = |kind, length| Err(PortError::Length { kind, length });
    for (bytes, expected) in [
        ([0, 0, 0, 0, 1, 0, 0], Err(PortError::Kind(0))),
        ([4, 0, 0, 0, 1, 0, 0], Err(PortError::Kind(4))),
        ([1, 0, 0, 0, 1, 0, 1], length(1, 1)),
        ([2, 0, 0, 0, 1, 0, 0], length(2, 0)),
        ([2, 0, 0, 0, 1, 0x40, 1], length(2, 16385)),
        ([3, 0, 0, 0, 1, 1, 0], length(3, 256)),
        ([3, 0, 0, 0, 1, 0, 0], Ok(Head::Close(1))),
        (
            [2, 0, 0, 1, 0, 0x40, 0],
            Ok(Head::Data(256, NonZeroU16::new(16384).unwrap())),
        ),
    ] {
        assert_eq!(Head::from_bytes(bytes), expected);
    }
}
