//! Making pages present. Text is demand-paged: what was never executed is not in RAM, and what is not in
//! RAM cannot be measured. Reading a page of a process through `/proc/PID/mem` faults it in.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

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
}

/// Faults in every page of every executable mapping of a process; returns how many were touched.
pub fn make_executable_pages_present(pid: u32) -> Result<u64, ResidencyError> {
    let inspect = |source| ResidencyError::Inspect { pid, source };
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(inspect)?;
    let memory = File::open(format!("/proc/{pid}/mem")).map_err(inspect)?;
    let mut touched = 0;
    for line in maps.lines() {
        let mapping = parse(line).ok_or_else(|| ResidencyError::Maps {
            pid,
            line: line.chars().take(200).collect(),
        })?;
        // The kernel's own vsyscall page lies outside of user space and is no mapping of the process.
        if !mapping.executable || line.ends_with("[vsyscall]") {
            continue;
        }
        for page in (mapping.start..mapping.end).step_by(PAGE) {
            let mut byte = [0];
            // A page past the file's end cannot be read; the measurement will name it.
            if memory.read_at(&mut byte, page).is_ok() {
                touched += 1;
            }
        }
    }
    Ok(touched)
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
    use super::*;

    #[test]
    fn own_text_can_be_touched() {
        assert!(make_executable_pages_present(std::process::id()).unwrap() > 10);
    }

    #[test]
    fn a_process_that_is_not_there_is_a_typed_error() {
        assert!(matches!(
            make_executable_pages_present(u32::MAX),
            Err(ResidencyError::Inspect { pid: u32::MAX, .. })
        ));
    }
}
