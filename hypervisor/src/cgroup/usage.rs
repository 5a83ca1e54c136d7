//! What is used in a group (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst).

use std::fs;
use std::path::{Path, PathBuf};

/// What is used in a group; `None` is not known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Used {
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// CPU time since it was made, in milliseconds.
    pub cpu_ms: Option<u64>,
}

pub(super) fn of(folders: &[PathBuf]) -> Used {
    let found = |read: fn(&Path) -> Option<u64>| folders.iter().find_map(|folder| read(folder));
    Used {
        memory: found(|folder| {
            let unified = number(&folder.join("memory.current"));
            unified.or_else(|| number(&folder.join("memory.usage_in_bytes")))
        }),
        threads: found(|folder| number(&folder.join("pids.current"))),
        cpu_ms: found(cpu_ms),
    }
}

/// Of version 2 in microseconds, of version 1 in nanoseconds.
fn cpu_ms(folder: &Path) -> Option<u64> {
    let nanoseconds = || number(&folder.join("cpuacct.usage")).map(|used| used / 1_000_000);
    let Ok(statistics) = fs::read_to_string(folder.join("cpu.stat")) else {
        return nanoseconds();
    };
    let line = (statistics.lines()).find_map(|line| line.strip_prefix("usage_usec "));
    let microseconds = line.and_then(|used| used.parse::<u64>().ok());
    microseconds.map(|used| used / 1000).or_else(nanoseconds)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read_and_what_is_not_there_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let folders = [PathBuf::from("/nowhere"), folder.path().to_owned()];
        assert_eq!(of(&folders), Used::default());
        write("memory.usage_in_bytes", "4096\n");
        write("pids.current", "7\n");
        write("cpuacct.usage", "9000000\n");
        let used = |memory, cpu_ms| Used {
            memory: Some(memory),
            threads: Some(7),
            cpu_ms: Some(cpu_ms),
        };
        assert_eq!(of(&folders), used(4096, 9));
        write("memory.current", "8192\n");
        write("cpu.stat", "nr_periods 1\nusage_usec 12000\nuser_usec 1\n");
        assert_eq!(of(&folders), used(8192, 12));
        write("cpu.stat", "nr_periods 1\n");
        assert_eq!(
            of(&folders).cpu_ms,
            Some(9),
            "version 1 has such a file too"
        );
    }
}
