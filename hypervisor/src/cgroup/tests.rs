use bartizan_attestation::identity::CardId;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::headless;

const V1: &str = "\
30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu
31 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
const V2: &str = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

fn folder(mounts: &str, membership: &str, wanted: Controller) -> Option<(String, bool)> {
    let (_, place) = places(mounts, membership)
        .into_iter()
        .find(|(one, _)| *one == wanted)?;
    place.map(|place| (place.folder.display().to_string(), place.unified))
}

#[test]
fn version_1_is_found_a_controller_at_a_time() {
    let own = "4:memory:/system/a\n1:cpu,cpuacct:/\n0::/b\n";
    assert_eq!(
        folder(V1, own, Controller::Memory),
        Some(("/sys/fs/cgroup/memory/system/a".into(), false))
    );
    assert_eq!(
        folder(V1, own, Controller::Cpu),
        Some(("/sys/fs/cgroup/cpu/".into(), false))
    );
    assert_eq!(
        folder(V1, own, Controller::Pids),
        Some(("/sys/fs/cgroup/unified/b".into(), true))
    );
}

#[test]
fn version_2_is_one_folder() {
    let own = "0::/system.slice/bartizan.service\n";
    let expected = Some(("/sys/fs/cgroup/system.slice/bartizan.service".into(), true));
    assert_eq!(folder(V2, own, Controller::Memory), expected);
    assert_eq!(folder("", own, Controller::Memory), None);
}

#[test]
fn limits_are_written_in_each_versions_words() {
    let limits = Limits {
        overhead_mib: 1,
        threads: 7,
        ..Limits::default()
    };
    let memory = Controller::Memory.settings(false, limits.beside(1 << 20));
    assert_eq!(
        memory,
        [
            ("memory.limit_in_bytes", (2 << 20).to_string()),
            ("memory.swappiness", "0".into())
        ]
    );
    assert_eq!(
        Controller::Cpu.settings(false, limits.beside(0)),
        [("cpu.shares", "1024".into())]
    );
    assert_eq!(
        Controller::Pids.settings(true, limits.beside(0)),
        [("pids.max", "7".into())]
    );
    let half = Bounds {
        cpu: Cpu::Percent(50),
        ..limits.beside(0)
    };
    assert_eq!(
        Controller::Cpu.settings(true, half),
        [("cpu.max", "50000 100000".into())]
    );
    assert_eq!(
        Controller::Cpu.settings(false, half),
        [
            ("cpu.cfs_period_us", "100000".into()),
            ("cpu.cfs_quota_us", "50000".into())
        ]
    );
}

const GUEST: GuestIdentity = GuestIdentity {
    card: CardId([1; 32]),
    vm: [2; 16],
    boot: 7,
};

/// A folder that behaves as a group of version 1 does, as far as files go.
fn offered(folder: &Path) -> Vec<(Controller, Option<Place>)> {
    let place = Place {
        folder: folder.to_owned(),
        unified: false,
    };
    vec![(Controller::Pids, Some(place)), (Controller::Memory, None)]
}

#[test]
fn a_guest_without_a_wished_limit_is_not_started() {
    let folder = tempfile::tempdir().unwrap();
    let group = folder.path().join(Name::of_guest(&GUEST).own());
    fs::create_dir(&group).unwrap();
    // The kernel makes the group's files.
    fs::write(group.join("pids.max"), "max").unwrap();
    let create = |optional| {
        let limits = Limits {
            optional,
            ..Limits::default()
        };
        Cgroup::beneath(
            offered(folder.path()),
            &Name::of_guest(&GUEST),
            limits.beside(0),
        )
    };
    let refused = create(false).unwrap_err();
    assert!(matches!(refused, CgroupError::Absent(Controller::Memory)));
    let group = create(true).unwrap();
    let limit = fs::read_to_string(group.folders[0].join("pids.max")).unwrap();
    assert_eq!(limit, "256");
    // A folder's files are not a group's, which go with it.
    fs::remove_file(group.folders[0].join("pids.max")).unwrap();
}

/// Known attack: a process that ends its first thread goes on in its others.
#[test]
fn whoever_is_in_a_group_is_ended() {
    let guest = || GuestIdentity {
        vm: *Uuid::new_v4().as_bytes(),
        ..GUEST
    };
    let optional = Limits {
        optional: true,
        ..Limits::default()
    };
    // Version 2 alone, where it is there; whoever runs the tests may have none to make groups in.
    let groups = [
        Cgroup::default().also_in(own_unified(), &Name::of_guest(&guest())),
        Cgroup::create(&guest(), 1 << 30, optional).unwrap(),
    ];
    for group in groups {
        let mut child = headless::start(group.process_files().unwrap());
        while !group.end().unwrap() {
            std::thread::yield_now();
        }
        if group.tells() {
            headless::ends(&child);
        } else {
            assert!(headless::lives(&child));
            child.kill().unwrap();
        }
        child.wait().unwrap();
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(mounts in "([0-9a-z/ :,-]|\n)*", own in "([0-9a-z/:,]|\n)*") {
        let _ = places(&mounts, &own);
    }
}
