//! The link to the supervisor: certificates, leases, order, the end.

use std::time::Duration;

use bartizan_attestation::host::{FromMeasurer, Outcome, ToMeasurer};
use bartizan_attestation::measurement::{PAGE_SIZE, Refusal, Region, Target};

use crate::ram::{MIB, Ram};
use crate::signatures::{request, signed, verified};
use crate::supervisor::{BUDGET, NoGuest, Pauses, Supervisor};

fn first_page() -> Vec<u8> {
    let regions = vec![Region {
        address: 0,
        size: PAGE_SIZE,
    }];
    signed(&request(Target::Physical(regions)))
}

#[test]
fn without_a_certificate_nothing_is_measured() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::uncertified(&ram.file, &ram.ranges, None, BUDGET);
    let FromMeasurer::CertificateNeeded { .. } = supervisor.hear() else {
        panic!("no CSR")
    };
    assert_eq!(supervisor.measure(first_page()), Err(Refusal::NoReportKey));
    assert_eq!(supervisor.pauses, 0);
}

#[test]
fn keys_overlap_when_renewed_at_half_life() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::uncertified(&ram.file, &ram.ranges, None, BUDGET);
    let first = supervisor.certify(Duration::from_secs(4));
    // The next CSR comes by itself; until it is answered the first key signs.
    let FromMeasurer::CertificateNeeded { csr } = supervisor.hear() else {
        panic!("no CSR")
    };
    let held = &mut std::iter::repeat(Pauses::Held);
    let Outcome::Report(report) = supervisor.measure_with(first_page(), held, &mut NoGuest) else {
        panic!("refused")
    };
    assert_eq!(verified(&report.message).1, first[0]);
    let second = crate::signatures::certify(&csr, Duration::from_secs(3600));
    supervisor.tell(&ToMeasurer::Certificate(vec![second[0].clone().into()]));
    let Outcome::Report(report) = supervisor.measure_with(first_page(), held, &mut NoGuest) else {
        panic!("refused")
    };
    assert_eq!(verified(&report.message).1, second[0]);
}

#[test]
fn a_key_is_rotated_on_demand_and_the_former_one_signs_until_then() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::uncertified(&ram.file, &ram.ranges, None, BUDGET);
    let first = supervisor.certify(Duration::from_secs(3600));
    let held = &mut std::iter::repeat(Pauses::Held);
    for order in 1..=3 {
        supervisor.tell(&ToMeasurer::RotateKey { order });
        let FromMeasurer::CertificateNeeded { csr } = supervisor.hear() else {
            panic!("no CSR")
        };
        let former = supervisor.installed.last().unwrap().1.new;
        let Outcome::Report(report) = supervisor.measure_with(first_page(), held, &mut NoGuest)
        else {
            panic!("refused")
        };
        let signed_by = verified(&report.message).1;
        assert_eq!(signed_by == first[0], order == 1);
        let next = crate::signatures::certify(&csr, Duration::from_secs(3600));
        supervisor.tell(&ToMeasurer::Certificate(vec![next[0].clone().into()]));
        let Outcome::Report(report) = supervisor.measure_with(first_page(), held, &mut NoGuest)
        else {
            panic!("refused")
        };
        assert_eq!(verified(&report.message).1, next[0]);
        let (installed, rotated) = supervisor.installed.last().unwrap();
        assert_eq!((*installed, rotated.destroyed), (Some(order), Some(former)));
        assert_ne!(rotated.new, former);
    }
    let orders: Vec<_> = supervisor
        .installed
        .iter()
        .map(|(order, _)| *order)
        .collect();
    assert_eq!(orders, [None, Some(1), Some(2), Some(3)]);
}

/// Known attack: a certificate that was on its way makes the supervisor take the request of the key that was ordered since for done.
#[test]
fn a_certificate_for_the_key_before_has_the_newest_one_asked_for_again() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::uncertified(&ram.file, &ram.ranges, None, BUDGET);
    let csr = |supervisor: &mut Supervisor| match supervisor.hear() {
        FromMeasurer::CertificateNeeded { csr } => csr,
        other => panic!("{other:?}"),
    };
    let before = csr(&mut supervisor);
    supervisor.tell(&ToMeasurer::RotateKey { order: 1 });
    let ordered = csr(&mut supervisor);
    assert_ne!(ordered, before);
    let late = crate::signatures::certify(&before, Duration::from_secs(3600));
    supervisor.tell(&ToMeasurer::Certificate(vec![late[0].clone().into()]));
    assert_eq!(csr(&mut supervisor), ordered);
    assert_eq!(supervisor.installed, []);
}

#[test]
fn an_order_in_the_midst_of_a_measurement_is_kept_for_its_end() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    supervisor.tell(&ToMeasurer::Measure {
        id: 7,
        request: first_page(),
    });
    let FromMeasurer::Pause { .. } = supervisor.hear() else {
        panic!("no pause")
    };
    supervisor.tell(&ToMeasurer::RotateKey { order: 1 });
    supervisor.tell(&ToMeasurer::Paused { stopped: true });
    let FromMeasurer::Resume = supervisor.hear() else {
        panic!("not resumed")
    };
    supervisor.tell(&ToMeasurer::Resumed {
        in_time: true,
        pause_us: 1,
    });
    let FromMeasurer::Measured { id: 7, outcome } = supervisor.hear() else {
        panic!("no outcome")
    };
    assert!(matches!(outcome, Outcome::Report(_)));
    let FromMeasurer::CertificateNeeded { .. } = supervisor.hear() else {
        panic!("no CSR")
    };
}

#[test]
fn a_snapshot_whose_lease_ran_out_is_taken_again() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    let pauses = &mut [Pauses::LeaseRunsOut, Pauses::LeaseRunsOut, Pauses::Held].into_iter();
    let outcome = supervisor.measure_with(first_page(), pauses, &mut NoGuest);
    assert!(matches!(outcome, Outcome::Report(_)));
    assert_eq!(supervisor.pauses, 3);

    let never = &mut std::iter::repeat(Pauses::LeaseRunsOut);
    let outcome = supervisor.measure_with(first_page(), never, &mut NoGuest);
    assert_eq!(outcome, Outcome::Refused(Refusal::PauseFailed));
    assert_eq!(supervisor.pauses, 6);
}

#[test]
fn a_guest_that_cannot_be_stopped_is_not_measured() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    let refused = &mut std::iter::once(Pauses::Refused);
    let outcome = supervisor.measure_with(first_page(), refused, &mut NoGuest);
    assert_eq!(outcome, Outcome::Refused(Refusal::PauseFailed));
    assert!(supervisor.measure(first_page()).is_ok());
}

#[test]
fn requests_that_arrive_during_a_pause_are_kept() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    supervisor.tell(&ToMeasurer::Measure {
        id: 1,
        request: first_page(),
    });
    let FromMeasurer::Pause { .. } = supervisor.hear() else {
        panic!("no pause")
    };
    supervisor.tell(&ToMeasurer::Measure {
        id: 2,
        request: b"garbage".to_vec(),
    });
    supervisor.tell(&ToMeasurer::Paused { stopped: true });
    assert_eq!(supervisor.hear(), FromMeasurer::Resume);
    supervisor.tell(&ToMeasurer::Resumed {
        in_time: true,
        pause_us: 1,
    });
    let first = supervisor.hear();
    assert!(
        matches!(
            first,
            FromMeasurer::Measured {
                id: 1,
                outcome: Outcome::Report(_)
            }
        ),
        "{first:?}"
    );
    let second = supervisor.hear();
    assert!(
        matches!(
            second,
            FromMeasurer::Measured {
                id: 2,
                outcome: Outcome::Refused(Refusal::Malformed(_))
            }
        ),
        "{second:?}"
    );
}

#[test]
fn a_flood_during_a_pause_ends_the_measurer_not_its_memory_bound() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    supervisor.tell(&ToMeasurer::Measure {
        id: 0,
        request: first_page(),
    });
    let FromMeasurer::Pause { .. } = supervisor.hear() else {
        panic!("no pause")
    };
    for id in 1..=65 {
        supervisor.tell(&ToMeasurer::Measure {
            id,
            request: vec![0; 1000],
        });
    }
    assert_eq!(supervisor.wait().code(), Some(1));
}

#[test]
fn a_message_out_of_turn_ends_the_measurer() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    supervisor.tell(&ToMeasurer::Resumed {
        in_time: true,
        pause_us: 0,
    });
    assert_eq!(supervisor.wait().code(), Some(1));
}

#[test]
fn the_supervisors_end_is_the_measurers() {
    let ram = Ram::new();
    assert!(Supervisor::start(&ram).end().success());
}

#[test]
fn ram_that_could_be_truncated_is_not_mapped() {
    let file = tempfile_like();
    let ranges = [bartizan_attestation::host::RamRange {
        address: 0,
        size: MIB,
        file_offset: 0,
    }];
    let supervisor = Supervisor::uncertified(&file, &ranges, None, BUDGET);
    assert_eq!(supervisor.wait().code(), Some(1));
}

fn tempfile_like() -> std::fs::File {
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    let memfd = memfd_create("unsealed", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memfd, MIB).unwrap();
    memfd.into()
}

#[test]
fn the_process_gave_up_its_rights() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    // An answer proves that the sandbox is shut.
    assert!(supervisor.measure(first_page()).is_ok());
    let proc = format!("/proc/{}", supervisor.pid());
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "Threads:\t1"] {
        assert!(status.lines().any(|found| found == line), "{line}");
    }
    let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"));
    let mut descriptors: Vec<String> = std::fs::read_dir(format!("{proc}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    descriptors.sort_unstable();
    assert_eq!(descriptors, ["0", "1", "2", "3"]);
    let maps = std::fs::read_to_string(format!("{proc}/maps")).unwrap();
    let ram = maps
        .lines()
        .filter(|line| line.contains("memfd:ram"))
        .collect::<Vec<_>>();
    assert!(
        ram.len() == 2 && ram.iter().all(|line| line.contains(" r--s ")),
        "{ram:?}"
    );
}
