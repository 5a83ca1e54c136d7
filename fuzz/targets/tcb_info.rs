//! The TcbInfo extension.
#![no_main]

use bartizan_attestation::certificates::tcb_info::TcbInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(info) = TcbInfo::decode(data) {
        let encoded = info.encode().expect("what was read can be written");
        assert_eq!(encoded, data, "two spellings of one extension");
    }
});
