//! An observer sees how the enclave is: what card, keeper and hypervisor know of it.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use bartizan_attestation::certificates::Role;
use bartizan_attestation::host::{
    EnclaveShown, KEEPER_FRAME, MachineState, OpenLinks, OperationReply, Use,
};
use bartizan_attestation::operation::Operation;
use bartizan_local::write_frame;

use super::running::{Operator, Running};
use super::stand_in_hypervisor::LINK;
use crate::DEADLINE;

fn shown(scene: &Running, by: &Operator) -> EnclaveShown {
    match scene.order(by, Operation::ShowEnclave) {
        OperationReply::Enclave(shown) => shown,
        other => panic!("{other:?}"),
    }
}

/// What is shown, once it is so.
fn until(scene: &Running, by: &Operator, is: impl Fn(&EnclaveShown) -> bool) -> EnclaveShown {
    let until = std::time::Instant::now() + DEADLINE;
    loop {
        let shown = shown(scene, by);
        if is(&shown) {
            return shown;
        }
        assert!(std::time::Instant::now() < until, "{shown:?}");
        std::thread::yield_now();
    }
}

#[test]
fn an_observer_sees_what_each_process_knows_of_the_enclave() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    let scene = Running::start(&format!(
        "enclave: {{socket: {}, verifier_socket: {}, keeper_socket: {}, allowed_uids: [{uid}]}}",
        path("enclave.sock").display(),
        path("verifier.sock").display(),
        path("keeper.sock").display(),
    ));
    let oscar = scene.operator("oscar", Role::Observer);
    let before = shown(&scene, &oscar);
    assert_eq!((before.machine, before.certified), (None, None));
    assert_eq!((before.card, before.hypervisor), (scene.host, Some(LINK)));
    assert!(!before.link && !before.forwarded);

    let mut keeper = UnixStream::connect(path("keeper.sock")).unwrap();
    let state = MachineState {
        since_s: Some(1_800_000_000),
        starts: 2,
        links: OpenLinks {
            card: true,
            ..OpenLinks::default()
        },
        use_of: Use {
            threads: Some(5),
            ..Use::default()
        },
    };
    write_frame(&mut keeper, &state, KEEPER_FRAME).unwrap();
    let heard = until(&scene, &oscar, |shown| shown.machine.is_some());
    let machine = heard.machine.unwrap();
    assert_eq!((machine.state, machine.connected), (state, true));
    // What it said last is shown on, and that it is gone.
    drop(keeper);
    let gone = |shown: &EnclaveShown| shown.machine.is_some_and(|heard| !heard.connected);
    let machine = until(&scene, &oscar, gone).machine.unwrap();
    assert_eq!(machine.state, state);
    // Known attack: who speaks there says what is no state, or too much.
    for wrong in [vec![0, 0, 0, 1, 0xff], vec![0xff; 8]] {
        let mut keeper = UnixStream::connect(path("keeper.sock")).unwrap();
        std::io::Write::write_all(&mut keeper, &wrong).unwrap();
        let mut end = Vec::new();
        // Ended, in whichever way.
        let _ended = std::io::Read::read_to_end(&mut keeper, &mut end);
        assert!(end.is_empty());
    }
    assert_eq!(shown(&scene, &oscar).machine.unwrap().state, state);
}
