//! Messages of DHCP clients.
#![no_main]

use bartizan_devices::net::dhcp::Question;
use libfuzzer_sys::fuzz_target;

const STATION: [u8; 6] = [2, 0, 0, 0, 7, 1];

fuzz_target!(|data: &[u8]| {
    if let Some(question) = Question::parse(data, STATION) {
        assert_eq!(data.get(4..8), Some(question.transaction.as_slice()));
        assert_eq!(data.get(28..34), Some(STATION.as_slice()));
    }
});
