//! What hostile bodies take in memory while they are read, before any signature is checked. Alone in its program: the
//! peak is the whole process's.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;

use bartizan_attestation::boot::{Bundle, File};
use bartizan_attestation::cose::MessageType;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::measurement::{
    Digest, MeasuredRegion, Region, Report, Snapshot, SnapshotMode,
};
use bartizan_attestation::profile::ApplicationProfile;
use bartizan_verifier::api::read_submission;
use bartizan_verifier::config::Limits;

/// What the process may take beside, for whatever reason, in bytes.
const SLACK: u64 = 4 << 20;

/// A number of /proc/self/status, in bytes.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.unwrap().trim_start_matches(':').trim_end_matches("kB");
    kib.trim().parse::<u64>().unwrap() << 10
}

/// By how many bytes the process is larger, at most, while it works.
fn peak<T>(work: impl FnOnce() -> T) -> u64 {
    // Resets the peak: proc_pid_clear_refs(5).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    drop(work());
    status("VmHWM").saturating_sub(before)
}

#[test]
fn hostile_bodies_take_no_more_than_they_are_charged() {
    let limit = Limits::default().report_body_bytes;

    // One large report: what it holds, and no copy of its text.
    let (head, tail) = (r#"{"guest_chain": [], "report": ""#, r#""}"#);
    let text = "A".repeat((limit - head.len() - tail.len()) / 4 * 4);
    let body = [head, &text, tail].concat().into_bytes();
    let taken = peak(|| read_submission(&body).unwrap());
    assert!(taken < body.len() as u64 * 3 / 4 + SLACK, "{taken}");

    // Millions of empty certificates.
    let (head, tail) = (r#"{"report": "", "guest_chain": ["""#, "]}");
    let more = r#","""#.repeat((limit - head.len() - tail.len()) / 3);
    let body = [head, &more, tail].concat().into_bytes();
    let taken = peak(|| read_submission(&body).unwrap_err());
    assert!(taken < SLACK, "{taken}");

    // Profiles of millions of empty paths and of algorithms.
    for (list, entry) in [("required", r#""""#), ("algorithms", r#""sha-256""#)] {
        let limit = Limits::default().profile_body_bytes;
        let (head, tail) = (format!(r#"{{"version": 1, "{list}": [{entry}"#), "]}");
        let more =
            format!(",{entry}").repeat((limit - head.len() - tail.len()) / (entry.len() + 1));
        let body = [&head, &more, tail].concat().into_bytes();
        let taken = peak(|| ApplicationProfile::from_json(&body).unwrap_err());
        assert!(taken < SLACK, "{list}: {taken}");
    }

    // The largest bundle: what it holds, and its one spelling to compare with. With the body that is three times its size.
    let files = ["a", "b", "c", "d"].map(|name| File {
        name: name.into(),
        contents: vec![7; Bundle::MAX_LEN / 4 - 100].into(),
    });
    let manifest = Vec::new().into();
    let files = files.into();
    let body = Bundle { manifest, files }.to_bytes();
    let taken = peak(|| Bundle::from_bytes(&body).unwrap());
    assert!(taken < body.len() as u64 * 2 + SLACK, "{taken}");
    drop(body);

    // A report of nearly half a million empty regions.
    let report = hostile_report();
    let taken = peak(|| Report::decode(&report).unwrap_err());
    assert!(taken < SLACK, "{taken}");
}

fn hostile_report() -> Vec<u8> {
    let region = MeasuredRegion {
        region: Region {
            address: 0,
            size: 0,
        },
        digest: Digest(Vec::new()),
    };
    let one = minicbor::to_vec(&region).unwrap().len();
    let report = Report {
        version: Report::VERSION,
        request: vec![0],
        guest: GuestIdentity {
            card: CardId([1; 32]),
            vm: [2; 16],
            boot: 1,
        },
        launch_measurement: Digest(vec![0; 48]),
        digest: Digest(vec![0; 32]),
        regions: vec![region; (MessageType::Report.max_len() - 1000) / one],
        page_digests: None,
        processes: Vec::new(),
        translation: None,
        snapshot: Snapshot {
            mode: SnapshotMode::PauseCopy,
            pause_us: 0,
            dirtied_pages: 0,
        },
        measured_at_ms: 0,
        hypervisor_version: "test".into(),
    };
    let bytes = report.encode();
    assert!(bytes.len() < MessageType::Report.max_len());
    bytes
}
