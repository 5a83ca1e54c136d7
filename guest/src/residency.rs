//! Making pages present. Text is demand-paged: what was never executed is not in RAM, and what is not in
//! RAM cannot be measured. Reading a page of a process through `/proc/PID/mem` faults it in.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Size of a page in bytes.
const PAGE: usize = 4096;

/// Pages could not be made present.
#[derive(Debug, thiserror::Error)]
pub enum ResidencyError {
    /// `/proc/PID` cannot be read.
    #[error(
        "process {pid} cannot be inspected: {source}; does it run, and may you (root, or its user)?"
    )]
    Inspect {
        /// The process.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// A line of `/proc/PID/maps` is not understood.
    #[error("/proc/{pid}/maps has a line that is not understood: `{line}`")]
    Maps {
        /// The process.
        pid: u32,
        /// The line.
        line: String,
    },
    /// More is mapped than the host would measure.
    #[error(
        "process {pid} maps {mapped} bytes to be executed, and {left} of {most} are left; the host refuses more than its launch record's `budget.bytes_per_request`"
    )]
    OverBudget {
        /// The process.
        pid: u32,
        /// What it maps.
        mapped: u64,
        /// What other processes of its program left to it.
        left: u64,
        /// Most bytes of all of them.
        most: u64,
    },
}

/// Faults in every page of every executable mapping of a process and of all others that execute its program, of `most`
/// bytes together; returns how many were touched.
///
/// They are measured together. Others that end meanwhile are no error: they are not measured then.
pub fn make_program_present(pid: u32, most: u64) -> Result<u64, ResidencyError> {
    let mut budget = Budget::of(most);
    let mut touched = budget.spend_on(pid)?;
    for other in instances(pid)? {
        touched += match budget.spend_on(other) {
            Err(ResidencyError::Inspect { source, .. }) if has_ended(&source) => 0,
            touched => touched?,
        };
    }
    Ok(touched)
}

/// Faults in every page of every executable mapping of one process, of at most `most` bytes; returns how many were touched.
pub fn make_executable_pages_present(pid: u32, most: u64) -> Result<u64, ResidencyError> {
    Budget::of(most).spend_on(pid)
}

/// Bytes that may be touched: a process can map more than can be read in its life.
struct Budget {
    left: u64,
    most: u64,
}

impl Budget {
    const fn of(most: u64) -> Self {
        Self { left: most, most }
    }

    /// Touches a process's executable pages, all or none.
    fn spend_on(&mut self, pid: u32) -> Result<u64, ResidencyError> {
        let ranges = executable_ranges(pid)?;
        let sizes = ranges
            .iter()
            .map(|range| range.end.saturating_sub(range.start));
        let mapped = sizes.fold(0, u64::saturating_add);
        let (left, most) = (self.left, self.most);
        self.left = left.checked_sub(mapped).ok_or(ResidencyError::OverBudget {
            pid,
            mapped,
            left,
            most,
        })?;
        touch(pid, &ranges)
    }
}

/// What a process may execute.
fn executable_ranges(pid: u32) -> Result<Vec<Range>, ResidencyError> {
    let inspect = |source| ResidencyError::Inspect { pid, source };
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(inspect)?;
    let mut ranges = Vec::new();
    for line in maps.lines() {
        let mapping = parse(line).ok_or_else(|| ResidencyError::Maps {
            pid,
            line: line.chars().take(200).collect(),
        })?;
        // The kernel's own vsyscall page lies outside of user space and is no mapping of the process.
        if mapping.executable && !line.ends_with("[vsyscall]") {
            ranges.push(mapping);
        }
    }
    Ok(ranges)
}

fn touch(pid: u32, ranges: &[Range]) -> Result<u64, ResidencyError> {
    let memory = File::open(format!("/proc/{pid}/mem"))
        .map_err(|source| ResidencyError::Inspect { pid, source })?;
    let mut touched = 0;
    for range in ranges {
        for page in (range.start..range.end).step_by(PAGE) {
            let mut byte = [0];
            // A page past the file's end cannot be read; the measurement will name it.
            if memory.read_at(&mut byte, page).is_ok() {
                touched += 1;
            }
        }
    }
    Ok(touched)
}

/// The other processes whose executable is the same file as that of `pid`. Those that may not be looked at, and those
/// of a file that was replaced since, are left for the measurement to name.
fn instances(pid: u32) -> Result<Vec<u32>, ResidencyError> {
    let inspect = |source| ResidencyError::Inspect { pid, source };
    let program = executable(pid).map_err(inspect)?;
    let processes = fs::read_dir("/proc").map_err(inspect)?;
    Ok(processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|other| *other != pid && executable(*other).is_ok_and(|it| it == program))
        .collect())
}

/// Device and inode of a process's executable.
fn executable(pid: u32) -> io::Result<(u64, u64)> {
    let file = fs::metadata(format!("/proc/{pid}/exe"))?;
    Ok((file.dev(), file.ino()))
}

fn has_ended(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

struct Range {
    start: u64,
    end: u64,
    executable: bool,
}

/// `start-end perms …` (proc(5)).
fn parse(line: &str) -> Option<Range> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    Some(Range {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        executable: permissions.as_bytes().get(2)? == &b'x',
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    use super::*;

    const MOST: u64 = 512 << 20;

    #[test]
    fn own_text_can_be_touched() {
        assert!(make_executable_pages_present(std::process::id(), MOST).unwrap() > 10);
    }

    #[test]
    fn a_process_that_maps_more_than_can_be_measured_is_not_touched() {
        let own = std::process::id();
        let mapped: u64 = (executable_ranges(own).unwrap().iter())
            .map(|range| range.end - range.start)
            .sum();
        for most in [0, 4096, mapped - 1] {
            let refused = make_executable_pages_present(own, most).unwrap_err();
            let ResidencyError::OverBudget {
                pid, mapped: said, ..
            } = refused
            else {
                panic!("{refused}");
            };
            assert_eq!((pid, said), (own, mapped));
        }
    }

    #[test]
    fn processes_of_one_program_have_one_budget() {
        let [mut one, mut other] = [echoing(), echoing()];
        let ranges = executable_ranges(one.id()).unwrap();
        let alone: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let enough_for_one = make_executable_pages_present(one.id(), alone);
        let together = make_program_present(one.id(), alone);
        for child in [&mut one, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        enough_for_one.unwrap();
        assert!(matches!(
            together,
            Err(ResidencyError::OverBudget { left: 0, .. })
        ));
    }

    #[test]
    fn a_process_that_is_not_there_is_a_typed_error() {
        for present in [make_executable_pages_present, make_program_present] {
            assert!(matches!(
                present(u32::MAX, MOST),
                Err(ResidencyError::Inspect { pid: u32::MAX, .. })
            ));
        }
    }

    /// A process of `cat` that has answered: it is past its loader, and maps what it ever will.
    fn echoing() -> Child {
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        cat.stdin.as_mut().unwrap().write_all(b"!").unwrap();
        cat.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        cat
    }

    #[test]
    fn processes_of_one_program_are_found_and_touched_together() {
        let [mut one, mut other] = [echoing(), echoing()];
        let found = instances(one.id()).unwrap();
        let alone = make_executable_pages_present(one.id(), MOST).unwrap();
        let together = make_program_present(one.id(), MOST).unwrap();
        for child in [&mut one, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(found.contains(&other.id()) && !found.contains(&one.id()));
        assert!(together >= 2 * alone, "{together} of {alone} each");
    }
}
