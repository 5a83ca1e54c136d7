//! The event log of a measured boot, in both encodings: the first byte selects which.
#![no_main]

use bartizan_attestation::boot::EventLog;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    let log = match selector % 2 {
        0 => EventLog::from_cbor(bytes),
        _ => EventLog::from_json(&String::from_utf8_lossy(bytes)),
    };
    let Ok(log) = log else {
        return;
    };
    let cbor = log.to_cbor();
    if selector % 2 == 0 {
        assert_eq!(cbor, bytes, "two spellings of one log");
    }
    let registers = log.replay();
    for again in [
        EventLog::from_cbor(&cbor),
        EventLog::from_json(&log.to_json().to_string()),
    ] {
        let again = again.expect("what was read can be written");
        assert_eq!(again, log);
        again.explains(&registers).expect("it replays");
    }
    // One event less explains something else.
    let mut events = log.events().to_vec();
    if events.pop().is_some() {
        assert!(EventLog::new(events).explains(&registers).is_err());
    }
});
