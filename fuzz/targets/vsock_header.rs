//! Headers of vsock packets. Four bytes are the guest's CID, the rest is the header.
#![no_main]

use bartizan_devices::vsock::{HOST_CID, Header, MAX_PAYLOAD, Operation, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((cid, rest)) = data.split_first_chunk() else {
        return;
    };
    let Some(bytes) = rest.first_chunk() else {
        return;
    };
    let cid = u32::from_le_bytes(*cid);
    let header = Header::from_bytes(bytes);
    assert_eq!(header.to_bytes(), *bytes);
    match judge(&header, cid) {
        Ok(packet) => {
            assert_eq!((header.src_cid, header.dst_cid), (cid.into(), HOST_CID));
            assert!(packet.len == 0 || packet.operation == Operation::Data);
            assert!(packet.len <= MAX_PAYLOAD && packet.len == header.len as usize);
        }
        // Nobody is answered in another's name.
        Err(error) if header.src_cid != u64::from(cid) => assert!(!error.is_answered()),
        Err(_) => {}
    }
});
