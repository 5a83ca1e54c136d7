use proptest::prelude::*;

use super::scene::{Key, booted};
use crate::{EventLog, LogError, RegisterValues, Sha384};

#[test]
fn it_replays_to_the_registers_in_both_encodings() {
    let log = booted(&Key::generate()).log;
    let registers = log.replay();
    let read = EventLog::from_cbor(&log.to_cbor()).unwrap();
    read.explains(&registers).unwrap();
    let read = EventLog::from_json(&log.to_json().to_string()).unwrap();
    read.explains(&registers).unwrap();
    assert_eq!(read, log);
}

/// As TPM2_PCR_Extend would.
#[test]
fn a_register_is_the_hash_of_its_old_value_and_the_digest() {
    let mut registers = RegisterValues::ZERO;
    let digest = Sha384::of(b"x");
    registers.extend(crate::Register::Measurement, &digest);
    assert_eq!(
        registers.measurement,
        Sha384::of(&[[0; 48], digest.0].concat())
    );
    assert_eq!(registers.authority, Sha384::ZERO);
}

#[test]
fn a_dropped_swapped_or_added_event_is_noticed() {
    let log = booted(&Key::generate()).log;
    let registers = log.replay();
    let events = log.events();
    let refused = |events: Vec<_>| {
        // Written anew, so that numbers and digests are right.
        let written = EventLog::new(events).to_cbor();
        let refused = EventLog::from_cbor(&written).unwrap().explains(&registers);
        assert!(
            matches!(refused, Err(LogError::Replay { .. })),
            "{refused:?}"
        );
    };
    for index in 0..events.len() {
        let mut dropped = events.to_vec();
        dropped.remove(index);
        refused(dropped);
        let mut added = events.to_vec();
        added.insert(index, events[index].clone());
        refused(added);
        if index > 0 && events[index].register == events[index - 1].register {
            let mut swapped = events.to_vec();
            swapped.swap(index - 1, index);
            refused(swapped);
        }
    }
}

#[test]
fn a_record_that_was_edited_is_named() {
    let log = booted(&Key::generate()).log;
    let mut json = log.to_json();
    json[3]["recnum"] = 4.into();
    let refused = EventLog::from_json(&json.to_string()).unwrap_err();
    assert!(refused.to_string().starts_with("record 3 "), "{refused}");
    let mut json = log.to_json();
    json[2]["digests"][0]["digest"] = "00".repeat(48).into();
    let refused = EventLog::from_json(&json.to_string()).unwrap_err();
    assert!(
        refused.to_string().contains("not that of its content"),
        "{refused}"
    );
    for (member, value) in [("pcr", 3.into()), ("content_type", "cel".into())] {
        let mut json = log.to_json();
        json[0][member] = value;
        EventLog::from_json(&json.to_string()).unwrap_err();
    }
}

#[test]
fn it_is_what_other_tools_read() {
    let log = booted(&Key::generate()).log;
    let json = log.to_json();
    let first = &json[0];
    assert_eq!((&first["recnum"], &first["pcr"]), (&0.into(), &12.into()));
    assert_eq!(first["digests"][0]["hashAlg"], "sha384");
    assert_eq!(first["content_type"], "pcclient_std");
    assert_eq!(first["content"]["event_type"], "EV_EVENT_TAG");
    // The digest is over the tagged event's data: without the tag and the size before it.
    let data = hex::decode(first["content"]["event_data"].as_str().unwrap()).unwrap();
    assert_eq!(
        first["digests"][0]["digest"],
        Sha384::of(&data[8..]).to_string()
    );
}

proptest! {
    #[test]
    fn no_flipped_bit_goes_unnoticed(at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let log = booted(&Key::generate()).log;
        let mut bytes = log.to_cbor();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let noticed = match EventLog::from_cbor(&bytes) {
            Ok(read) => read.explains(&log.replay()).is_err(),
            Err(_) => true,
        };
        prop_assert!(noticed);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = EventLog::from_cbor(&bytes);
        let _ = EventLog::from_json(&String::from_utf8_lossy(&bytes));
    }
}
