use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::qemu::process::in_groups;

fn config(run_dir: &Path) -> Config {
    let config = format!(
        "{{ run_dir: '{}', kernel: k, image: i, config: c, command_line: l, limits: {{ optional: true }}, \
         qemu: {{ program: /usr/bin/true, user: {{ uid: 1, gid: 1 }} }}, \
         links: {{ card: c, hypervisor: h, verifier: v }} }}",
        run_dir.display()
    );
    serde_saphyr::from_str(&config).unwrap()
}

#[test]
fn limits_are_ram_and_what_qemu_needs_beside_it() {
    let bounds = Limits::default().beside(128);
    let expected = Bounds {
        memory: 320 << 20,
        threads: 64,
        cpu: Cpu::Percent(100),
        optional: false,
    };
    assert_eq!(bounds, expected);
    assert!(Limits::default().are_sound());
    for limits in ["memory_mib: 0", "pids: 0", "cpu_percent: 0"] {
        let limits: Limits = serde_saphyr::from_str(limits).unwrap();
        assert!(!limits.are_sound(), "{limits:?}");
    }
}

/// Known attack: a QEMU that its machine took over outlives a keeper that was killed, beside the next one's.
#[tokio::test]
async fn what_an_earlier_keeper_left_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let group = create(&config).unwrap();
    // Whoever runs the tests may have no group to make others in.
    if !group.tells() {
        return;
    }
    let mut command = Command::new("/usr/bin/sleep");
    command.arg("600");
    in_groups(&mut command, group.process_files().unwrap());
    let mut left = command.spawn().unwrap();
    let ended = std::thread::spawn(move || left.wait().unwrap());
    clear(&config).await.unwrap();
    assert_eq!(ended.join().unwrap().signal(), Some(libc::SIGKILL));
    // Nobody is in it, and it is gone.
    assert!(group.is_empty().unwrap());
    let again = Cgroup::family(&Name::of_enclave(&config.run_dir));
    assert!(!again.tells(), "{again:?}");
}
