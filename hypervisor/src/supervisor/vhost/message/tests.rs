use proptest::prelude::*;

use super::*;

#[test]
fn other_versions_unknown_requests_and_large_payloads_are_refused() {
    let header = |request: u32, flags: u32, size: u32| {
        let words = [
            request.to_ne_bytes(),
            flags.to_ne_bytes(),
            size.to_ne_bytes(),
        ]
        .concat();
        Header::parse(words.try_into().unwrap())
    };
    assert_eq!(header(1, 1, 0).unwrap().request, Request::GetFeatures);
    assert_eq!(header(1, 2, 0), Err(MessageError::Version(2)));
    // SET_LOG_BASE, SET_BACKEND_REQ_FD, GET_INFLIGHT_FD.
    for request in [6, 21, 31, 0, u32::MAX] {
        assert_eq!(header(request, 1, 0), Err(MessageError::Request(request)));
    }
    assert_eq!(
        header(1, 1, u32::MAX),
        Err(MessageError::TooLarge(u32::MAX))
    );
}

#[test]
fn ring_beyond_a_byte_is_refused() {
    let mut payload = 256u32.to_ne_bytes().to_vec();
    payload.extend_from_slice(&[0; 4]);
    assert!(Message::new(Request::SetRingSize, payload).ring().is_err());
}

proptest! {
    #[test]
    fn headers_come_back(bytes: [u8; Header::SIZE]) {
        if let Ok(header) = Header::parse(bytes) {
            prop_assert_eq!(Header::parse(header.bytes()), Ok(header));
        }
    }

    #[test]
    fn payloads_come_back(payload: Vec<u8>) {
        let message = Message::new(Request::SetRingAddresses, payload.clone());
        if let Ok(addresses) = message.ring_addresses() {
            prop_assert_eq!(addresses.bytes(), payload.clone());
        }
        if let Ok(ring) = message.ring() {
            prop_assert_eq!(ring.bytes(), payload);
        }
    }

    #[test]
    fn addresses_come_back(index: u8, flags: u32, used: u64, log: u64) {
        let addresses = RingAddresses { index, flags, descriptors: 1, used, available: 2, log };
        let message = Message::new(Request::SetRingAddresses, addresses.bytes());
        prop_assert_eq!(message.ring_addresses(), Ok(addresses));
    }
}
