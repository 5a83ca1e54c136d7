//! Launch records: YAML by an operator.
#![no_main]

use std::sync::LazyLock;

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::launch::{
    Boot, LaunchRecord, LaunchRecordError, Machine, sign_record, verify_record,
};
use bartizan_fuzz::fleet::{FLEET, NOW_S};
use bartizan_fuzz::scene::ANCHOR;
use libfuzzer_sys::fuzz_target;

static CHAIN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| FLEET.chain(Usage::Operator));
static TRUE_ANCHOR: LazyLock<String> = LazyLock::new(|| hex::encode(FLEET.ca.sha256()));

fuzz_target!(|data: &[u8]| {
    assert!(
        verify_record(data, &FLEET.ca, NOW_S).is_err(),
        "nobody signed this"
    );
    let Ok(yaml) = str::from_utf8(data) else {
        return;
    };
    let yaml = yaml.replace(ANCHOR, &TRUE_ANCHOR);
    let Ok(record) = LaunchRecord::parse(&yaml) else {
        assert!(sign_record(&yaml, &CHAIN, &FLEET.operator_key).is_err());
        return;
    };
    is_right(&record);
    let signed =
        sign_record(&yaml, &CHAIN, &FLEET.operator_key).expect("what is right can be signed");
    match verify_record(&signed, &FLEET.ca, NOW_S) {
        Ok(verified) => {
            assert_eq!((verified.yaml, verified.record), (yaml, record));
            assert_eq!(verified.operator, "alice");
        }
        Err(LaunchRecordError::ForeignAnchor { .. }) => {
            assert_ne!(record.fleet_ca_sha256, *TRUE_ANCHOR);
        }
        Err(error) => panic!("a record that was just signed is refused: {error}"),
    }
});

fn is_right(record: &LaunchRecord) {
    assert_eq!(record.version, LaunchRecord::VERSION);
    assert!((1..=63).contains(&record.name.len()) && !record.uuid.is_nil());
    assert!((1..=64).contains(&record.cpus) && (64..=1 << 20).contains(&record.memory_mib));
    match &record.boot {
        Boot::Kernel { command_line, .. } => {
            assert!(
                !command_line.contains("bartizan.anchor"),
                "the guest's anchor is set by its record"
            );
        }
        Boot::Firmware { .. } => {
            assert!(record.machine == Machine::Q35 && !record.disks.is_empty())
        }
    }
    for disk in &record.disks {
        let path = disk.path.to_str().expect("a path is text");
        assert!(path.starts_with('/') && !path.contains(|c: char| c == ',' || c.is_control()));
    }
}
