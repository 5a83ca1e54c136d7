//! Physical regions.

use bartizan_attestation::digest::{hash, tree_root};
use bartizan_attestation::measurement::{
    DigestKind, HashAlgorithm, PAGE_SIZE, Refusal, Region, SnapshotMode, Target,
};

use crate::ram::{HIGH, MIB, Ram};
use crate::signatures::{request, signed};
use crate::supervisor::{BUDGET, Supervisor, guest};

fn region(address: u64, size: u64) -> Region {
    Region { address, size }
}

#[test]
fn every_algorithm_and_kind_on_both_sides_of_the_hole() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    let regions = vec![
        region(HIGH + MIB, 2 * PAGE_SIZE),
        region(PAGE_SIZE, PAGE_SIZE),
    ];
    let high = usize::try_from(3 * MIB).unwrap();
    let bytes = [&ram.bytes[high..high + 8192], &ram.bytes[4096..8192]].concat();
    for algorithm in HashAlgorithm::ALL {
        let pages: Vec<u8> = bytes
            .chunks(4096)
            .flat_map(|page| hash(algorithm, page).0)
            .collect();
        for kind in [DigestKind::Flat, DigestKind::Tree] {
            let mut request = request(Target::Physical(regions.clone()));
            (request.algorithm, request.kind) = (algorithm, kind);
            let request = signed(&request);
            let report = supervisor.measure(request.clone()).unwrap();
            let expected = match kind {
                DigestKind::Flat => hash(algorithm, &bytes),
                DigestKind::Tree => tree_root(algorithm, &pages),
            };
            assert_eq!(report.digest, expected, "{algorithm} {kind:?}");
            let measured: Vec<_> = report.regions.iter().map(|r| r.region).collect();
            assert_eq!(measured, regions);
            assert_eq!((report.request, report.guest), (request, guest()));
            assert_eq!(report.snapshot.mode, SnapshotMode::PauseCopy);
            assert!(report.snapshot.pause_us > 0);
        }
    }
}

#[test]
fn what_is_not_ram_is_named_before_any_pause() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    let cases = [
        // In the hole, over its edge, past the end, far out.
        (region(3 << 30, PAGE_SIZE), 3 << 30),
        (region(2 * MIB - PAGE_SIZE, 2 * PAGE_SIZE), 2 * MIB),
        (region(HIGH + 2 * MIB, PAGE_SIZE), HIGH + 2 * MIB),
        (region(1 << 52, PAGE_SIZE), 1 << 52),
    ];
    for (region, address) in cases {
        let request = request(Target::Physical(vec![
            Region {
                address: 0,
                size: PAGE_SIZE,
            },
            region,
        ]));
        let refused = supervisor.measure(signed(&request));
        assert_eq!(refused, Err(Refusal::NotRam { address }));
    }
    assert_eq!(supervisor.pauses, 0);
}

#[test]
fn more_than_the_budget_is_refused_before_any_pause() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    let over = vec![region(0, 2 * MIB), region(HIGH, MIB + PAGE_SIZE)];
    let refused = supervisor.measure(signed(&request(Target::Physical(over))));
    let requested = 3 * MIB + PAGE_SIZE;
    assert_eq!(
        refused,
        Err(Refusal::OverBudget {
            requested,
            allowed: BUDGET
        })
    );
    assert_eq!(supervisor.pauses, 0);
    let whole = vec![region(0, 2 * MIB), region(HIGH, MIB)];
    assert!(
        supervisor
            .measure(signed(&request(Target::Physical(whole))))
            .is_ok()
    );
}
