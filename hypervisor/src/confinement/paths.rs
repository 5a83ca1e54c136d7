//! Where programs, libraries and firmware are.

use std::path::{Path, PathBuf};

use bartizan_confinement::{Rights, Rules};

/// The program that the kernel executes with every dynamic one.
const LOADERS: &[&str] = &["/lib64/ld-linux-x86-64.so.2"];

/// Libraries, modules and the loader's index of them.
const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ld.so.cache",
];

/// QEMU's firmware and option ROMs, as distributions lay them out.
const FIRMWARE: &[&str] = &[
    "/usr/share/qemu",
    "/usr/share/seabios",
    "/usr/share/ipxe",
    "/usr/share/qboot",
];

/// What every program needs to start, and to be one of `programs`. One that was measured has its libraries with it: of the machine's
/// it needs none.
pub(super) fn to_execute<'p>(rules: Rules, programs: impl IntoIterator<Item = &'p Path>) -> Rules {
    let mut on_disk = programs
        .into_iter()
        .filter(|program| !is_measured(program))
        .peekable();
    let rules = match on_disk.peek() {
        None => rules,
        Some(_) => rules
            .grant_any(LOADERS, Rights::Execute)
            .grant_any(LIBRARIES, Rights::Read),
    };
    on_disk
        .fold(rules, |rules, program| {
            rules.grant(program, Rights::Execute)
        })
        .grant_any(["/dev/null"], Rights::Write)
        .grant_any(["/dev/urandom"], Rights::Read)
}

/// What QEMU asks of the machine that it runs on.
pub(super) fn to_look_around(rules: Rules) -> Rules {
    rules
        .grant_any(["/dev/null"], Rights::Write)
        .grant_any(["/dev/urandom"], Rights::Read)
        // How many processors, in which nodes of memory.
        .grant_any(
            ["/sys/devices/system/cpu", "/sys/devices/system/node"],
            Rights::Read,
        )
}

/// What a supervisor opens before it confines itself, so that QEMU can hand over the tracking of its writes.
pub(super) const USERFAULT: &str = "/dev/userfaultfd";

/// Whether a path is that of a descriptor: a memory file, which Landlock has no rules for and always allows.
pub(super) fn is_measured(path: &Path) -> bool {
    path.starts_with("/proc/self/fd")
}

/// What QEMU reads, where the distribution has it or its own builder put it: beside the program, in
/// `../lib` and `../share/qemu`.
pub(super) fn to_run_qemu(rules: Rules, program: &Path) -> Rules {
    let home = program.parent().and_then(Path::parent);
    let home = home.filter(|_| !is_measured(program));
    let own: Vec<PathBuf> = home
        .into_iter()
        .flat_map(|home| ["lib", "lib64", "share/qemu"].map(|name| home.join(name)))
        .collect();
    to_look_around(rules)
        .grant_any(FIRMWARE, Rights::Read)
        .grant_any(own, Rights::Read)
}
