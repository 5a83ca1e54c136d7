//! On the log of a real machine: see `firmware-logs/make.sh` for how it was made.

use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;

use crate::{Bank, FirmwareLog, FirmwareLogError, Sha384};

const OVMF: &[u8] = include_bytes!("../../firmware-logs/ovmf.log");
/// What the TPM's PCRs held: `BANK NUMBER DIGEST` in each line.
const PCRS: &str = include_str!("../../firmware-logs/ovmf.pcrs");

/// PCRs of a bank: all that the firmware and the kernel's loader extend.
fn held(bank: Bank) -> BTreeMap<u8, String> {
    let lines = PCRS.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let of_bank = lines.filter(|words| words[0] == bank.name());
    let held = of_bank.map(|words| (words[1].parse().unwrap(), words[2].to_owned()));
    held.collect()
}

fn quoted() -> BTreeMap<u8, Sha384> {
    let held = held(Bank::Sha384).into_iter();
    held.map(|(pcr, value)| (pcr, value.parse().unwrap()))
        .collect()
}

/// A log of these events, each as it is in a log.
fn written(events: &[Vec<u8>]) -> Vec<u8> {
    let log = FirmwareLog::parse(OVMF).unwrap();
    [log.header().to_vec(), events.concat()].concat()
}

fn events() -> Vec<Vec<u8>> {
    let log = FirmwareLog::parse(OVMF).unwrap();
    let events = log.events().iter();
    events.map(|event| event.bytes.to_vec()).collect()
}

#[test]
fn it_replays_to_what_the_machines_tpm_held() {
    let log = FirmwareLog::parse(OVMF).unwrap();
    for bank in Bank::ALL {
        let replayed = log.replay(bank).unwrap();
        let held = held(bank);
        assert_eq!(held.len(), 10);
        for (pcr, value) in held {
            assert_eq!(replayed[&pcr].to_string(), value, "PCR {pcr}");
        }
        assert_eq!(replayed[&17].bytes()[0], 0xff);
    }
    log.explains(&quoted()).unwrap();
    assert_eq!(written(&events()), OVMF);
}

/// Another reader of the format, by others.
#[test]
fn tpm2_tools_read_it_likewise() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware-logs/ovmf.log");
    let output = Command::new("tpm2_eventlog").arg(file).output();
    let output = output.expect("tpm2_eventlog is not installed; run `cargo xtask setup`");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let log = FirmwareLog::parse(OVMF).unwrap();
    let of = |key: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim_start_matches([' ', '-']));
        let values = lines.filter_map(|line| line.strip_prefix(key));
        values
            .map(|value| value.trim_matches(['"', ' ']).to_owned())
            .collect()
    };
    // The first is the header.
    let types: Vec<_> = log
        .events()
        .iter()
        .map(|e| e.event_type.to_string())
        .collect();
    assert_eq!(of("EventType: ")[1..], types);
    let pcrs: Vec<_> = log.events().iter().map(|e| e.pcr.to_string()).collect();
    assert_eq!(of("PCRIndex: ")[1..], pcrs);
    let digests = log
        .events()
        .iter()
        .flat_map(|event| Bank::ALL.map(|bank| hex::encode(event.digest(bank).unwrap())));
    assert_eq!(of("Digest: ")[1..], digests.collect::<Vec<_>>());
    let (_, replays) = text.split_once("\npcrs:\n").unwrap();
    for bank in Bank::ALL {
        let (_, rest) = replays
            .split_once(&format!("  {}:\n", bank.name()))
            .unwrap();
        let lines = rest.lines().take_while(|line| line.starts_with("    "));
        let replayed = log.replay(bank).unwrap();
        let mut compared = 0;
        for line in lines {
            let (pcr, value) = line.split_once(':').unwrap();
            let value = value.trim().trim_start_matches("0x");
            assert_eq!(replayed[&pcr.trim().parse().unwrap()].to_string(), value);
            compared += 1;
        }
        assert!(compared >= 9, "{compared} PCRs of {}", bank.name());
    }
}

#[test]
fn a_dropped_swapped_added_or_changed_event_is_noticed_with_both_digests() {
    let (all, held) = (events(), quoted());
    let refused = |events: &[Vec<u8>], what: &str| {
        let bytes = written(events);
        match FirmwareLog::parse(&bytes).unwrap().explains(&held) {
            Err(FirmwareLogError::Replay {
                pcr,
                expected,
                found,
            }) => {
                assert!(held[&pcr] == found && expected != found, "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    };
    let pcr = |event: &[u8]| event[0];
    for index in 0..all.len() {
        let mut dropped = all.clone();
        dropped.remove(index);
        refused(&dropped, "dropped");
        let mut added = all.clone();
        added.insert(index, all[index].clone());
        refused(&added, "added");
        // The SHA-384 digest, behind PCR, type, count and the SHA-256 digest.
        let mut changed = all.clone();
        changed[index][4 + 4 + 4 + 2 + 32 + 2] ^= 1;
        refused(&changed, "changed");
        if index > 0 && pcr(&all[index]) == pcr(&all[index - 1]) {
            let mut swapped = all.clone();
            swapped.swap(index - 1, index);
            refused(&swapped, "swapped");
        }
    }
}

/// Swapping events of two PCRs, or altering data alone, changes no PCR: the log says no more than that.
#[test]
fn data_is_believed_where_its_digest_covers_it() {
    let log = FirmwareLog::parse(OVMF).unwrap();
    let covered = |name: &str| {
        let of = log.events().iter();
        let mut of = of.filter(|event| event.event_type.to_string() == name);
        let first = of.next().unwrap().is_data_measured();
        assert!(of.all(|event| event.is_data_measured() == first), "{name}");
        first
    };
    assert!(covered("EV_SEPARATOR") && covered("EV_EFI_VARIABLE_DRIVER_CONFIG"));
    assert!(!covered("EV_EFI_BOOT_SERVICES_APPLICATION"));
    assert!(!covered("EV_EFI_PLATFORM_FIRMWARE_BLOB"));
    let mut altered = events();
    let separator = altered.iter_mut().find(|event| event[4] == 4).unwrap();
    *separator.last_mut().unwrap() ^= 1;
    let bytes = written(&altered);
    let altered = FirmwareLog::parse(&bytes).unwrap();
    altered.explains(&quoted()).unwrap();
    let doubtful = altered.events().iter();
    let mut doubtful = doubtful.filter(|event| event.event_type.to_string() == "EV_SEPARATOR");
    assert!(!doubtful.next().unwrap().is_data_measured());
}

#[test]
fn events_are_described() {
    let log = FirmwareLog::parse(OVMF).unwrap();
    let all: Vec<_> = log
        .events()
        .iter()
        .map(|event| (event.pcr, event.event_type.to_string(), event.description()))
        .collect();
    let has = |pcr: u32, event_type: &str, description: &str| {
        let wanted = (pcr, event_type.to_owned(), description.to_owned());
        assert!(all.contains(&wanted), "{wanted:?} is not in {all:?}");
    };
    has(7, "EV_EFI_VARIABLE_DRIVER_CONFIG", "SecureBoot");
    has(1, "EV_EFI_VARIABLE_BOOT", "BootOrder");
    has(
        4,
        "EV_EFI_ACTION",
        "Calling EFI Application from Boot Option",
    );
    has(
        5,
        "EV_EFI_ACTION",
        "Exit Boot Services Returned with Success",
    );
    has(6, "EV_SEPARATOR", "00000000");
}

/// An event of both banks.
fn event(pcr: u32, event_type: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = [
        pcr.to_le_bytes(),
        event_type.to_le_bytes(),
        2_u32.to_le_bytes(),
    ]
    .concat();
    bytes.extend(0x000b_u16.to_le_bytes());
    bytes.extend([1; 32]);
    bytes.extend(0x000c_u16.to_le_bytes());
    bytes.extend([1; 48]);
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn a_startup_locality_is_where_pcr_0_begins() {
    let locality = |locality: u8| event(0, 3, &[b"StartupLocality\0", &[locality][..]].concat());
    let replayed = |events: &[Vec<u8>]| {
        let bytes = written(events);
        let log = FirmwareLog::parse(&bytes).unwrap();
        log.replay(Bank::Sha384).map(|pcrs| pcrs[&0].clone())
    };
    let alone = replayed(&[locality(3)]).unwrap();
    assert_eq!(alone.bytes(), [&[0; 47][..], &[3]].concat());
    let then = replayed(&[locality(4), event(0, 8, b"")]).unwrap();
    let expected = Sha384::of(&[&[0; 47][..], &[4], &[1; 48]].concat());
    assert_eq!(then.bytes(), expected.0);
    for (events, index) in [
        (vec![locality(1)], 0),
        (vec![locality(3), locality(3)], 1),
        (vec![event(0, 8, b""), locality(3)], 1),
        (vec![event(0, 3, b"StartupLocality\0")], 0),
    ] {
        let refused = replayed(&events);
        assert_eq!(refused, Err(FirmwareLogError::StartupLocality(index)));
    }
}

#[test]
fn what_is_not_extended_may_be_of_any_pcr_and_nothing_else() {
    let bytes = written(&[event(u32::MAX, 3, b"SP800-155 Event\0")]);
    let log = FirmwareLog::parse(&bytes).unwrap();
    assert!(log.replay(Bank::Sha384).unwrap()[&0].bytes() == [0; 48]);
    let refused = FirmwareLog::parse(&written(&[event(24, 1, b"")])).map(|_| ());
    let expected = FirmwareLogError::Pcr { index: 0, pcr: 24 };
    assert_eq!(refused, Err(expected));
}

/// A header's event with these algorithms.
fn header(count: u32, algorithms: &[(u16, u16)]) -> Vec<u8> {
    let mut data = [b"Spec ID Event03\0", &[0; 8][..], &count.to_le_bytes()].concat();
    for (id, size) in algorithms {
        data.extend(id.to_le_bytes());
        data.extend(size.to_le_bytes());
    }
    data.push(0);
    let mut bytes = vec![0; 32];
    bytes[4] = 3;
    bytes[28..].copy_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn lies_about_sizes_and_counts_are_refused_each_with_its_own_error() {
    let good = header(2, &[(0x000b, 32), (0x000c, 48)]);
    let with = |event: &[u8]| [&*good, event].concat();
    let event = |bytes: &[u8]| [&[0; 4], &[1, 0, 0, 0], bytes].concat();
    let mut without_digest = header(1, &[(0x000b, 32)]);
    let mut doubled = crate::tests::firmware_log::event(0, 1, b"");
    doubled[46] = 0x0b;
    without_digest.truncate(40);
    for (bytes, expected) in [
        (vec![], FirmwareLogError::Header),
        (vec![0; 64], FirmwareLogError::Header),
        (without_digest, FirmwareLogError::Header),
        (header(3, &[(0x000b, 32)]), FirmwareLogError::Header),
        (header(0, &[]), FirmwareLogError::Algorithms),
        (
            header(u32::MAX, &[(0x000b, 32)]),
            FirmwareLogError::Algorithms,
        ),
        (
            header(1, &[(0x000b, 48)]),
            FirmwareLogError::Algorithm(0x000b),
        ),
        (
            header(1, &[(0x0999, 0)]),
            FirmwareLogError::Algorithm(0x0999),
        ),
        (
            header(2, &[(0x000c, 48), (0x000c, 48)]),
            FirmwareLogError::Algorithm(0x000c),
        ),
        (with(&[0]), FirmwareLogError::Cut(0)),
        (
            with(&event(&u32::MAX.to_le_bytes())),
            FirmwareLogError::Digests(0),
        ),
        (
            with(&event(&[1, 0, 0, 0, 0x0b, 0])),
            FirmwareLogError::Digests(0),
        ),
        (
            with(&event(&[2, 0, 0, 0, 0x12, 0])),
            FirmwareLogError::Digests(0),
        ),
        (
            with(&event(&[2, 0, 0, 0, 0x0b, 0, 1])),
            FirmwareLogError::Cut(0),
        ),
        (with(&doubled), FirmwareLogError::Digests(0)),
        (
            vec![0; FirmwareLog::MAX_LEN + 1],
            FirmwareLogError::TooLarge,
        ),
    ] {
        assert_eq!(FirmwareLog::parse(&bytes).unwrap_err(), expected);
    }
    let mut longer = crate::tests::firmware_log::event(0, 1, b"data");
    let size = longer.len() - 8;
    longer[size..size + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let cut = FirmwareLog::parse(&with(&longer)).map(|_| ());
    assert_eq!(cut, Err(FirmwareLogError::Cut(0)));
    let small = [4_u32, 3, 1].map(u32::to_le_bytes).concat();
    let small = [&*small, &[0xff, 0xff, 9], &[0; 4]].concat();
    let one = header(1, &[(0xffff, 1)]);
    let many = [&*one, &small.repeat(FirmwareLog::MAX_EVENTS)].concat();
    let log = FirmwareLog::parse(&many).unwrap();
    assert_eq!(
        log.replay(Bank::Sha384),
        Err(FirmwareLogError::NoBank(Bank::Sha384))
    );
    let too_many = FirmwareLog::parse(&[&*many, &small].concat()).map(|_| ());
    assert_eq!(too_many, Err(FirmwareLogError::TooManyEvents));
}

/// Whatever is cut off is noticed, unless it is whole events.
#[test]
fn a_log_that_is_cut_off_is_refused_or_shorter() {
    let whole = FirmwareLog::parse(OVMF).unwrap().events().len();
    let mut shorter = 0;
    for length in 0..OVMF.len() {
        if let Ok(log) = FirmwareLog::parse(&OVMF[..length]) {
            assert!(log.events().len() < whole);
            shorter += 1;
        }
    }
    assert_eq!(shorter, whole);
}

proptest! {
    #[test]
    fn hostile_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        read_and_replay(&bytes);
    }

    #[test]
    fn an_altered_log_is_refused_or_read(at in 0..OVMF.len(), byte in any::<u8>(), cut in 0..OVMF.len()) {
        let mut bytes = OVMF.to_vec();
        bytes[at] = byte;
        read_and_replay(&bytes);
        read_and_replay(&bytes[..cut]);
    }
}

fn read_and_replay(bytes: &[u8]) {
    let Ok(log) = FirmwareLog::parse(bytes) else {
        return;
    };
    let events: Vec<u8> = log
        .events()
        .iter()
        .flat_map(|event| event.bytes)
        .copied()
        .collect();
    assert_eq!([log.header(), &events].concat(), bytes);
    for event in log.events() {
        let description = event.description();
        assert!(description.chars().count() <= 97 && !description.contains(char::is_control));
        assert!(event.event_type.is_extended() || !event.is_data_measured());
    }
    for bank in Bank::ALL {
        if let Ok(pcrs) = log.replay(bank) {
            assert_eq!(pcrs.len(), 24);
        }
    }
}
