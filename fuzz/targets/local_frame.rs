//! Messages of the local links. The first byte selects the type, the rest is one frame's contents.
#![no_main]

use std::fmt::Debug;

use bartizan_attestation::host::{
    CardReply, CardRequest, ForCard, FromCard, FromEnclave, FromMeasurer, MachineState,
    OperationReply, OperationRequest, OperatorReply, OperatorRequest, SupervisorReply,
    SupervisorRequest, ToEnclave, ToMeasurer,
};
use bartizan_attestation::keys::{VaultReply, VaultRequest};
use bartizan_local::admission::{AdmissionReply, AdmissionRequest};
use bartizan_local::attachment::{Attach, Attached};
use bartizan_local::flow::{FromDevices, ToDevices};
use bartizan_local::observation::Observed;
use bartizan_local::{decode, encode, read_frame, write_frame};
use libfuzzer_sys::fuzz_target;
use minicbor::{Decode, Encode};

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&selector, bytes)) = data.split_first() else {
        return;
    };
    match selector % 24 {
        0 => one_encoding::<VaultRequest>(bytes),
        1 => one_encoding::<VaultReply>(bytes),
        2 => one_encoding::<OperatorRequest>(bytes),
        3 => one_encoding::<OperatorReply>(bytes),
        4 => one_encoding::<CardRequest>(bytes),
        5 => one_encoding::<CardReply>(bytes),
        6 => one_encoding::<SupervisorRequest>(bytes),
        7 => one_encoding::<SupervisorReply>(bytes),
        8 => one_encoding::<ToMeasurer>(bytes),
        9 => one_encoding::<FromMeasurer>(bytes),
        10 => one_encoding::<Attach>(bytes),
        11 => one_encoding::<Attached>(bytes),
        12 => one_encoding::<AdmissionRequest>(bytes),
        13 => one_encoding::<AdmissionReply>(bytes),
        14 => one_encoding::<OperationRequest>(bytes),
        15 => one_encoding::<OperationReply>(bytes),
        16 => one_encoding::<ForCard>(bytes),
        17 => one_encoding::<FromCard>(bytes),
        18 => one_encoding::<ToEnclave>(bytes),
        19 => one_encoding::<FromEnclave>(bytes),
        20 => one_encoding::<FromDevices>(bytes),
        21 => one_encoding::<ToDevices>(bytes),
        22 => one_encoding::<MachineState>(bytes),
        _ => one_encoding::<Observed>(bytes),
    }
});

fn one_encoding<M>(bytes: &[u8])
where
    M: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug,
{
    // As a stream, lengths included: whatever comes, it ends.
    let mut stream = bytes;
    while read_frame::<M>(&mut stream, LIMIT).is_ok() {}
    let Ok(message) = decode::<M>(bytes) else {
        return;
    };
    assert_eq!(encode(&message), bytes, "two encodings of one message");
    let mut link = Vec::new();
    write_frame(&mut link, &message, LIMIT).expect("it fits");
    let mut link = link.as_slice();
    let read = read_frame::<M>(&mut link, LIMIT).expect("what is written can be read");
    assert!(read == message && link.is_empty());
}
