use super::*;

#[test]
fn round_trip() {
    let mut link = Vec::new();
    write_frame(&mut link, &(7u32, true), 64).unwrap();
    assert_eq!(
        read_frame::<(u32, bool)>(&mut link.as_slice(), 64).unwrap(),
        (7, true)
    );
}

#[test]
fn end_between_frames_is_told_from_end_inside_one() {
    assert!(matches!(
        read_frame::<u32>(&mut [].as_slice(), 64),
        Err(FrameError::Closed)
    ));
    let cut = [0, 0, 0, 2, 0x18];
    assert!(matches!(
        read_frame::<u32>(&mut cut.as_slice(), 64),
        Err(FrameError::Io(_))
    ));
}

#[test]
fn announced_size_over_the_limit_is_refused_unread() {
    let link = [0xff; 4];
    assert!(matches!(
        read_frame::<u32>(&mut link.as_slice(), 64),
        Err(FrameError::TooLarge { limit: 64, .. })
    ));
}

#[test]
fn longer_spelling_of_an_integer_is_refused() {
    // 5 as a two-byte integer (RFC 8949 section 4.2.1 wants the shortest form).
    assert!(matches!(
        decode::<u32>(&[0x18, 0x05]),
        Err(FrameError::NotDeterministic)
    ));
    // Trailing bytes.
    assert!(decode::<u32>(&[0x05, 0x05]).is_err());
}
