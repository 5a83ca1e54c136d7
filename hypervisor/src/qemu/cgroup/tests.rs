use proptest::prelude::*;

use super::*;

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
        cpu_weight: 100,
    };
    let memory = Controller::Memory.settings(false, 1 << 20, limits);
    assert_eq!(memory, [("memory.limit_in_bytes", (2 << 20).to_string())]);
    assert_eq!(
        Controller::Cpu.settings(false, 0, limits),
        [("cpu.shares", "1024".into())]
    );
    assert_eq!(
        Controller::Pids.settings(true, 0, limits),
        [("pids.max", "7".into())]
    );
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(mounts in "([0-9a-z/ :,-]|\n)*", own in "([0-9a-z/:,]|\n)*") {
        let _ = places(&mounts, &own);
    }
}
