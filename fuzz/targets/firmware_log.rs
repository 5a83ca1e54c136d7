//! The event log of a host's own firmware.
#![no_main]

use std::collections::BTreeMap;

use bartizan_attestation::boot::{Bank, FirmwareLog, Sha384};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(log) = FirmwareLog::parse(data) else {
        return;
    };
    let events: Vec<u8> = log
        .events()
        .iter()
        .flat_map(|event| event.bytes)
        .copied()
        .collect();
    assert_eq!(
        [log.header(), &events].concat(),
        data,
        "every byte is of the header or of one event"
    );
    for event in log.events() {
        // Shown to people, of bounded length.
        let description = event.description();
        assert!(description.chars().count() < 100 && !description.contains(char::is_control));
        assert!(event.event_type.is_extended() || !event.is_data_measured());
    }
    let Ok(replayed) = log.replay(Bank::Sha384) else {
        return;
    };
    let mut pcrs: BTreeMap<u8, Sha384> = replayed
        .iter()
        .map(|(pcr, value)| (*pcr, Sha384(value.bytes().try_into().expect("48 bytes"))))
        .collect();
    log.explains(&pcrs).expect("it replays");
    let first = pcrs.get_mut(&0).expect("PCR 0");
    first.0[0] ^= 1;
    assert!(log.explains(&pcrs).is_err(), "another value is explained");
});
