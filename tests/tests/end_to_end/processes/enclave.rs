//! The enclave's RAM is mapped by its QEMU alone, and nothing of the enclave maps a guest's.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, bail, ensure};
use bartizan_tests::process::Process;

use crate::world::World;

/// The enclave's RAM in bytes, as the keeper's configuration has it where it says nothing.
const RAM: u64 = 384 << 20;
/// Who maps guests' RAM (see the table): devices, each guest's QEMU and measurer.
const MAPS_GUESTS: &[&str] = &[
    "bartizan-devices",
    "qemu-system-x86_64",
    "bartizan-measurer",
];

/// By /proc of every process of the machine.
pub(super) fn ram_is_its_own(world: &mut World) -> Result<()> {
    let (stack, _) = world.web()?;
    let keeper = Process::of(stack.host.keeper().pid()?)?;
    let qemu = stack.host.enclave()?;
    let anonymous = |process: Process| {
        let maps = process.mappings()?;
        let of_ram = maps.iter().filter(|mapping| mapping.size() == RAM);
        anyhow::Ok(of_ram.cloned().collect::<Vec<_>>())
    };
    // Memory without a file is nobody else's: no other process can be given it.
    let ram = anonymous(qemu)?;
    let [ram] = ram.as_slice() else {
        bail!("the enclave's QEMU has not one mapping of its RAM's size: {ram:?}");
    };
    ensure!(
        ram.permissions == "rw-p" && ram.inode == 0,
        "the enclave's RAM is not private to its QEMU: {ram:?}"
    );
    let mut mapping = BTreeSet::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let process = Process::of(process)?;
        // One that has ended meanwhile maps nothing.
        let Ok(maps) = process.mappings() else {
            continue;
        };
        let guests = maps
            .iter()
            .any(|mapping| mapping.path.starts_with("/memfd:bartizan-ram"));
        ensure!(
            !guests || (process != qemu && process != keeper),
            "{process:?} of the enclave maps a guest's RAM"
        );
        // A way into the memory of QEMU would be a descriptor of it.
        let reached = process.has_memory_of(qemu);
        ensure!(
            !reached,
            "{process:?} has the memory of the enclave's QEMU open"
        );
        if guests {
            mapping.insert(process.program()?);
        }
    }
    let traced = qemu.status("TracerPid")?;
    ensure!(traced == "0", "{traced} traces the enclave's QEMU");
    // It looked where there is something to be seen.
    let who: BTreeSet<_> = mapping.iter().map(String::as_str).collect();
    let due: BTreeSet<_> = MAPS_GUESTS.iter().copied().collect();
    ensure!(who == due, "guests' RAM is mapped by {who:?}, not {due:?}");
    Ok(())
}
