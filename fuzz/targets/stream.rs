//! Messages between enclave and verifier. The first byte selects the direction, the rest is one message's protobuf.
#![no_main]

use bartizan_stream::Bytes;
use bartizan_stream::message::{read_down, read_up, write_down, write_up};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&selector, bytes)) = data.split_first() else {
        return;
    };
    let message = Bytes::copy_from_slice(bytes);
    // Whatever comes, what is understood has one encoding.
    if selector % 2 == 0 {
        if let Ok(said) = read_up(&message) {
            assert_eq!(write_up(&said), message, "two encodings of one message");
        }
    } else if let Ok(said) = read_down(&message) {
        assert_eq!(write_down(&said), message, "two encodings of one message");
    }
});
