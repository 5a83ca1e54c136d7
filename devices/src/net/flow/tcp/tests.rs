use proptest::prelude::*;

use super::*;

const SYN: u8 = Flags::SYN;
const ACK: u8 = Flags::ACK;
const FIN: u8 = Flags::FIN | Flags::ACK;
const RST: u8 = Flags::RST;

/// How far a connection is after these segments: by whom (whether who began), and their flags.
fn after(segments: &[(bool, u8)]) -> Result<Tcp, TcpError> {
    let mut state = Tcp::Asked;
    for (by_beginner, flags) in segments {
        check(Flags(*flags))?;
        match state.step(*by_beginner, Flags(*flags))? {
            Step::On(next) => state = next,
            Step::Anew => panic!("another connection"),
        }
    }
    Ok(state)
}

const OPENED: [(bool, u8); 2] = [(false, SYN | ACK), (true, ACK)];

#[test]
fn a_connection_opens_and_closes_by_its_handshakes() {
    assert_eq!(after(&[]), Ok(Tcp::Asked));
    // Repeated ones change nothing.
    assert_eq!(
        after(&[
            (true, SYN),
            (false, SYN | ACK),
            (false, SYN | ACK),
            (true, SYN)
        ]),
        Ok(Tcp::Answered)
    );
    assert_eq!(after(&OPENED), Ok(Tcp::Open));
    let closing = [OPENED.as_slice(), &[(false, FIN), (true, ACK)]].concat();
    assert_eq!(after(&closing), Ok(Tcp::Closing(false)));
    let closed = [
        closing.as_slice(),
        &[(true, FIN), (false, ACK), (true, FIN)],
    ]
    .concat();
    assert_eq!(after(&closed), Ok(Tcp::Closed));
    assert_eq!(
        after(&[OPENED.as_slice(), &[(false, RST)]].concat()),
        Ok(Tcp::Reset)
    );
}

#[test]
fn nothing_passes_before_the_handshake_or_after_a_reset() {
    for early in [
        (true, ACK),
        (false, ACK),
        (true, FIN),
        (false, SYN),
        (false, FIN),
    ] {
        assert_eq!(after(&[early]), Err(TcpError::Handshake), "{early:?}");
    }
    assert_eq!(
        after(&[(false, SYN | ACK), (false, ACK)]),
        Err(TcpError::Handshake)
    );
    assert_eq!(after(&[(true, RST), (true, ACK)]), Err(TcpError::Handshake));
}

#[test]
fn a_port_that_is_used_again_is_another_connection() {
    for over in [Tcp::Closed, Tcp::Reset] {
        for by_beginner in [true, false] {
            assert_eq!(over.step(by_beginner, Flags(SYN)), Ok(Step::Anew));
        }
    }
    assert_eq!(Tcp::Open.step(true, Flags(SYN)), Ok(Step::On(Tcp::Open)));
}

#[test]
fn flags_that_mean_nothing_are_refused() {
    for flags in [0, Flags::FIN, 0x29, SYN | Flags::FIN, SYN | RST, 0xff, 0x28] {
        assert_eq!(check(Flags(flags)), Err(TcpError::Flags), "{flags:#x}");
    }
    for flags in [SYN, SYN | ACK, ACK, FIN, RST, RST | ACK, 0x18, 0xc2] {
        assert_eq!(check(Flags(flags)), Ok(()), "{flags:#x}");
    }
}

proptest! {
    /// Without the other end's answer no data ever passes, whatever one end sends.
    #[test]
    fn one_end_alone_opens_nothing(flags in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut state = Tcp::Asked;
        for flags in flags.into_iter().filter(|flags| check(Flags(*flags)).is_ok()) {
            if let Ok(Step::On(next)) = state.step(true, Flags(flags)) {
                state = next;
            }
        }
        prop_assert!(matches!(state, Tcp::Asked | Tcp::Reset));
    }
}
