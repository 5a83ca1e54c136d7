use proptest::prelude::*;

use super::*;
use crate::cbor::{CborError, decode_strict, encode};
use crate::identity::{CardId, GuestIdentity};

/// What the error must name, and what is done to a right message.
type Spoilt<M> = (&'static str, fn(&mut M));

const fn region(address: u64, size: u64) -> Region {
    Region { address, size }
}

fn request(target: Target) -> MeasurementRequest {
    MeasurementRequest {
        version: 1,
        verifier_nonce: [1; 32],
        guest_nonce: [2; 32],
        audience: "https://relying.example".into(),
        application: "nginx".into(),
        target,
        algorithm: HashAlgorithm::Sha256,
        kind: DigestKind::Flat,
        expected: None,
        page_digests: false,
    }
}

fn report() -> Report {
    Report {
        version: 1,
        request: vec![1],
        guest: GuestIdentity {
            card: CardId([1; 32]),
            vm: [2; 16],
            boot: 1,
        },
        launch_measurement: Digest(vec![0; 48]),
        digest: Digest(vec![0; 32]),
        regions: vec![MeasuredRegion {
            region: region(0x1000, 0x2000),
            digest: Digest(vec![0; 32]),
        }],
        page_digests: Some(Digest(vec![0; 32])),
        processes: vec![ResolvedProcess {
            pid: 1,
            start_time_ns: 2,
            comm: "nginx".into(),
            executable: "/usr/sbin/nginx".into(),
            mappings: vec![Mapping {
                region: region(0x1000, 0x2000),
                path: Some("/usr/sbin/nginx".into()),
                file_offset: 0,
                flags: MappingFlags(MappingFlags::READ | MappingFlags::EXEC),
                special: false,
            }],
        }],
        translation: Some(TranslationBasis {
            levels: 4,
            kernel: Digest(vec![0; 32]),
            banner: "Linux version 6.1.0".into(),
        }),
        snapshot: Snapshot {
            mode: SnapshotMode::PauseCopy,
            pause_us: 1,
            dirtied_pages: 0,
        },
        measured_at_ms: 1,
        hypervisor_version: "0.1.0".into(),
    }
}

fn refused(regions: &[Region]) -> Refusal {
    let target = Target::Physical(regions.to_vec());
    let refusal = target.check().unwrap_err();
    let target = Target::Virtual {
        pid: 7,
        regions: regions.to_vec(),
    };
    assert_eq!(target.check(), Err(refusal.clone()));
    // The request is refused for the same reason, not as malformed.
    let bytes = request(target).encode();
    assert_eq!(
        Refusal::from(MeasurementRequest::decode(&bytes).unwrap_err()),
        refusal
    );
    refusal
}

#[test]
fn each_wrong_region_has_its_refusal() {
    let page = PAGE_SIZE;
    assert_eq!(refused(&[]), Refusal::EmptyRegion { address: 0 });
    assert_eq!(
        refused(&[region(page, 0)]),
        Refusal::EmptyRegion { address: page }
    );
    let (address, size) = (page + 1, page);
    assert_eq!(
        refused(&[region(address, size)]),
        Refusal::UnalignedRegion { address, size }
    );
    let (address, size) = (page, page - 1);
    assert_eq!(
        refused(&[region(address, size)]),
        Refusal::UnalignedRegion { address, size }
    );
    // Ends at 2^64 exactly, and beyond.
    for (address, size) in [(u64::MAX - page + 1, page), (u64::MAX - page + 1, 2 * page)] {
        assert_eq!(
            refused(&[region(address, size)]),
            Refusal::WrappingRegion { address, size }
        );
    }
    let (first, second) = (page, 2 * page);
    let overlapping = Refusal::OverlappingRegions { first, second };
    assert_eq!(
        refused(&[region(first, 2 * page), region(second, page)]),
        overlapping
    );
    assert_eq!(
        refused(&[region(second, page), region(first, 2 * page)]),
        overlapping
    );
    assert!(matches!(
        refused(&[region(page, page); 2]),
        Refusal::OverlappingRegions { .. }
    ));
    let (requested, allowed) = (Target::MAX_BYTES + page, Target::MAX_BYTES);
    assert_eq!(
        refused(&[region(0, requested)]),
        Refusal::OverBudget { requested, allowed }
    );
}

#[test]
fn sizes_that_only_overflow_together_are_refused() {
    let half = 1 << 63;
    let refusal = refused(&[region(0, half), region(half, half - PAGE_SIZE)]);
    let (requested, allowed) = (u64::MAX - PAGE_SIZE + 1, Target::MAX_BYTES);
    assert_eq!(refusal, Refusal::OverBudget { requested, allowed });
}

#[test]
fn adjacent_regions_in_any_order_are_fine() {
    let target = Target::Physical(vec![region(0x3000, 0x1000), region(0x1000, 0x2000)]);
    assert_eq!(target.check(), Ok(()));
    assert_eq!(
        (target.size(), target.pages(), target.pid()),
        (0x3000, 3, None)
    );
    assert_eq!(Target::Profile { pid: 1 }.check(), Ok(()));
}

#[test]
fn fields_of_a_request_are_checked() {
    let good = request(Target::Profile { pid: 1 });
    assert_eq!(MeasurementRequest::decode(&good.encode()).unwrap(), good);
    let bad: [Spoilt<MeasurementRequest>; 8] = [
        ("version", |r| r.version = 2),
        ("audience", |r| r.audience.clear()),
        ("audience", |r| r.audience = "a".repeat(257)),
        ("application", |r| r.application = "a\nb".into()),
        ("application", |r| r.application = "a".repeat(129)),
        ("expected digest", |r| {
            r.expected = Some(Digest(vec![0; 48]))
        }),
        ("regions", |r| {
            r.target = Target::Physical(vec![region(0, PAGE_SIZE); 257])
        }),
        ("page digests", |r| {
            r.page_digests = true;
            r.target = Target::Physical(vec![region(0, PAGE_SIZE)]);
        }),
    ];
    for (what, spoil) in bad {
        let mut spoiled = good.clone();
        spoil(&mut spoiled);
        let error = MeasurementRequest::decode(&spoiled.encode()).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
    let long = vec![0; MeasurementRequest::MAX_LEN + 1];
    assert!(matches!(
        MeasurementRequest::decode(&long),
        Err(RequestError::TooLarge { .. })
    ));
}

#[test]
fn an_unknown_algorithm_is_told_apart() {
    let bytes = request(Target::Profile { pid: 1 }).encode();
    // Key 6 is the algorithm, 1 stands for SHA-256; 2 (SHA-256-128) is none of ours.
    let at = bytes
        .windows(4)
        .position(|w| w == [0x06, 0x01, 0x07, 0x00])
        .unwrap();
    let mut unknown = bytes;
    unknown[at + 1] = 2;
    let refusal = Refusal::from(MeasurementRequest::decode(&unknown).unwrap_err());
    assert_eq!(refusal, Refusal::UnknownAlgorithm { number: 2 });
}

#[test]
fn an_unknown_key_is_refused() {
    let mut bytes = request(Target::Profile { pid: 1 }).encode();
    assert_eq!(bytes[0], 0xa9);
    bytes[0] = 0xaa;
    bytes.extend([0x18, 100, 0xf5]);
    let error = MeasurementRequest::decode(&bytes).unwrap_err();
    assert!(
        matches!(error, RequestError::Encoding(CborError::NotDeterministic)),
        "{error}"
    );
}

#[test]
fn fields_of_a_report_are_checked() {
    let good = report();
    assert_eq!(Report::decode(&good.encode()).unwrap(), good);
    let bad: [Spoilt<Report>; 19] = [
        ("version", |r| r.version = 0),
        ("request", |r| r.request.clear()),
        ("launch_measurement", |r| {
            r.launch_measurement.0.truncate(32)
        }),
        ("digest", |r| r.digest.0.clear()),
        ("region's digest", |r| r.regions[0].digest.0 = vec![0; 48]),
        ("page digests", |r| {
            r.page_digests = Some(Digest(vec![0; 48]))
        }),
        ("regions", |r| r.regions.clear()),
        ("aligned", |r| r.regions[0].region.address += 1),
        ("overlap", |r| r.regions.push(r.regions[0].clone())),
        ("hypervisor_version", |r| {
            r.hypervisor_version = "0".repeat(65)
        }),
        ("comm", |r| r.processes[0].comm = "c".repeat(46)),
        ("executable", |r| r.processes[0].executable.clear()),
        ("mappings", |r| r.processes[0].mappings.clear()),
        ("path", |r| {
            r.processes[0].mappings[0].path = Some(String::new())
        }),
        ("processes", |r| {
            r.processes = vec![r.processes[0].clone(); 65]
        }),
        ("levels", |r| r.translation.as_mut().unwrap().levels = 3),
        ("kernel", |r| {
            r.translation.as_mut().unwrap().kernel.0.clear()
        }),
        ("translation", |r| r.translation = None),
        ("translation", |r| r.processes.clear()),
    ];
    for (what, spoil) in bad {
        let mut spoiled = good.clone();
        spoil(&mut spoiled);
        let error = Report::decode(&spoiled.encode()).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
}

#[test]
fn mappings_stand_in_order() {
    let mut report = report();
    let process = &mut report.processes[0];
    let mut lower = process.mappings[0].clone();
    lower.region.address = 0;
    lower.region.size = 0x1000;
    process.mappings.push(lower);
    assert!(matches!(
        report.check(),
        Err(ReportError::Range("order of mappings"))
    ));
}

#[test]
fn two_processes_may_have_the_same_addresses_and_one_may_not() {
    let mut report = report();
    report.regions.push(report.regions[0].clone());
    assert!(matches!(report.check(), Err(ReportError::Regions(_))));
    let mut second = report.processes[0].clone();
    second.pid = 2;
    report.processes.push(second);
    report.check().unwrap();
    let third = region(0x2000, 0x1000);
    report.processes[1].mappings[0].region = third;
    let same = report.processes[0].mappings[0].clone();
    report.processes[1].mappings.insert(0, same);
    report.regions.push(report.regions[0].clone());
    report.regions[2].region = third;
    assert!(matches!(report.check(), Err(ReportError::Regions(_))));
}

#[test]
fn lists_are_bounded_before_they_are_in_memory() {
    let most = Report::MAX_MAPPINGS;
    let mut many: [(&str, Report, usize); 2] = [
        ("regions", report(), most),
        ("processes", report(), Report::MAX_PROCESSES),
    ];
    many[0].1.regions = vec![report().regions[0].clone(); most + 1];
    many[1].1.processes = vec![report().processes[0].clone(); Report::MAX_PROCESSES + 1];
    for (list, report, most) in many {
        let mut bytes = report.encode();
        let refused = Report::decode(&bytes);
        assert!(matches!(refused, Err(ReportError::Range(found)) if found == list));
        // Refused by what is announced, before a single entry is read.
        let head = encode(&vec![0_u8; most + 1]);
        let head = &head[..head.len() - (most + 1)];
        let at = bytes.windows(head.len()).rposition(|window| window == head);
        bytes.truncate(at.unwrap() + head.len());
        let refused = Report::decode(&bytes);
        assert!(matches!(refused, Err(ReportError::Range(found)) if found == list));
    }
}

#[test]
fn mappings_are_bounded_over_all_processes() {
    let mut report = report();
    let mapping = report.processes[0].mappings[0].clone();
    report.processes = vec![report.processes[0].clone(); 2];
    for (first, second, fits) in [(2000, 2096, true), (2000, 2097, false), (4097, 1, false)] {
        report.processes[0].mappings = vec![mapping.clone(); first];
        report.processes[1].mappings = vec![mapping.clone(); second];
        // They overlap, which is said after they were counted.
        let counted = |result| !matches!(result, Err(ReportError::Range("mappings")));
        assert_eq!(counted(report.check()), fits);
        assert_eq!(counted(Report::decode(&report.encode()).map(drop)), fits);
    }
}

fn any_digest(len: usize) -> impl Strategy<Value = Digest> {
    prop::collection::vec(any::<u8>(), len).prop_map(Digest)
}

fn any_target() -> impl Strategy<Value = Target> {
    // Ascending gaps and sizes in pages: never overlapping.
    let regions = prop::collection::vec((0u64..1000, 1u64..1000), 1..20).prop_map(|parts| {
        let mut next = 0;
        let mut place = |(gap, pages): (u64, u64)| {
            let address = next + gap * PAGE_SIZE;
            next = address + pages * PAGE_SIZE;
            region(address, pages * PAGE_SIZE)
        };
        parts.into_iter().map(&mut place).collect::<Vec<_>>()
    });
    prop_oneof![
        regions.clone().prop_map(Target::Physical),
        (any::<u32>(), regions).prop_map(|(pid, regions)| Target::Virtual { pid, regions }),
        any::<u32>().prop_map(|pid| Target::Profile { pid }),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip(
        target in any_target(),
        algorithm in prop::sample::select(&HashAlgorithm::ALL),
        tree in any::<bool>(),
        audience in "[ -~]{1,256}",
        expected in prop::option::of(any_digest(64)),
    ) {
        let mut request = request(target);
        request.algorithm = algorithm;
        request.kind = if tree { DigestKind::Tree } else { DigestKind::Flat };
        request.audience = audience;
        request.expected =
            expected.map(|digest| Digest(digest.0[..algorithm.digest_len()].to_vec()));
        prop_assert_eq!(MeasurementRequest::decode(&request.encode()).unwrap(), request);
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = MeasurementRequest::decode(&bytes);
        let _ = Report::decode(&bytes);
    }

    /// Whatever is read has this one encoding, and checking it does not panic.
    #[test]
    fn mangled_messages_are_refused_or_canonical(
        at in any::<prop::sample::Index>(),
        cut in 0usize..8,
        patch in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mangle = |mut bytes: Vec<u8>| {
            let at = at.index(bytes.len());
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, patch.clone());
            bytes
        };
        let bytes = mangle(request(Target::Physical(vec![region(0, PAGE_SIZE)])).encode());
        if let Ok(request) = MeasurementRequest::decode(&bytes) {
            prop_assert_eq!(request.encode(), bytes);
        }
        let bytes = mangle(report().encode());
        if let Ok(report) = Report::decode(&bytes) {
            prop_assert_eq!(report.encode(), bytes);
        }
    }

    #[test]
    fn regions_are_judged_without_overflow(
        parts in prop::collection::vec((any::<u64>(), any::<u64>()), 0..8),
    ) {
        let regions = parts.into_iter().map(|(address, size)| region(address, size)).collect();
        let _ = Target::Physical(regions).check();
    }
}

#[test]
fn strict_decoding_refuses_trailing_and_long_forms() {
    assert_eq!(decode_strict::<u32>(&encode(&500u32)).unwrap(), 500);
    assert!(matches!(
        decode_strict::<u32>(&[0x18, 0x05]),
        Err(CborError::NotDeterministic)
    ));
    assert!(matches!(
        decode_strict::<u32>(&[0x05, 0x05]),
        Err(CborError::NotDeterministic)
    ));
    assert!(matches!(
        decode_strict::<u32>(&[]),
        Err(CborError::Malformed(_))
    ));
}
