//! Refusals of process targets that need no guest; the rest is in `guest`.

use bartizan_attestation::measurement::{Refusal, Target};

use crate::ram::Ram;
use crate::signatures::{request, signed};
use crate::supervisor::{BUDGET, Supervisor};

#[test]
fn without_a_kernel_image_no_process_is_measured() {
    let ram = Ram::new();
    let mut supervisor = Supervisor::start(&ram);
    let refused = supervisor.measure(signed(&request(Target::Profile { pid: 1 })));
    assert!(
        matches!(refused, Err(Refusal::KernelNotUnderstood(_))),
        "{refused:?}"
    );
}

#[test]
fn an_image_that_is_no_kernel_leaves_physical_regions_measurable() {
    let ram = Ram::new();
    let own_program = std::path::Path::new(env!("CARGO_BIN_EXE_bartizan-measurer"));
    let mut supervisor = Supervisor::uncertified(&ram.file, &ram.ranges, Some(own_program), BUDGET);
    supervisor.certify(std::time::Duration::from_secs(60));
    let refused = supervisor.measure(signed(&request(Target::Profile { pid: 1 })));
    assert!(
        matches!(refused, Err(Refusal::KernelNotUnderstood(_))),
        "{refused:?}"
    );
}
