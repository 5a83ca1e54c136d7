//! The control group of the enclave's QEMU: its limits from outside, and its end, whatever it does.
//!
//! Each run of the machine has one of its own, made before QEMU is started and removed when that has ended. What a keeper that was
//! killed left behind the next one ends first: there is one enclave at a time.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::config::Config;
use crate::cgroup::{Bounds, Cgroup, CgroupError, Cpu, Name};

/// How long whoever was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(10);

/// What the enclave's QEMU may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory beyond the machine's RAM, in MiB: QEMU's own, its copies of kernel and image, and its translations under TCG, which
    /// [`super::command_line`] bounds.
    pub memory_mib: u32,
    /// Most threads.
    pub pids: u32,
    /// Most CPU time, in percent of one CPU, which is what the machine has.
    pub cpu_percent: u32,
    /// Whether the enclave may run without a limit that this host cannot set.
    pub optional: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mib: 192,
            pids: 64,
            cpu_percent: 100,
            optional: false,
        }
    }
}

impl Limits {
    /// Whether QEMU could run within them.
    pub(super) const fn are_sound(self) -> bool {
        self.memory_mib > 0 && self.pids > 0 && self.cpu_percent > 0
    }

    fn beside(self, ram_mib: u32) -> Bounds {
        Bounds {
            memory: (u64::from(ram_mib) + u64::from(self.memory_mib)) << 20,
            threads: self.pids,
            cpu: Cpu::Percent(self.cpu_percent),
            optional: self.optional,
        }
    }
}

/// Kills and removes what an earlier keeper of this configuration left. Before this one is confined: those are no children of its.
pub async fn clear(config: &Config) -> Result<(), CgroupError> {
    let left = Cgroup::family(&Name::of_enclave(&config.run_dir));
    if left.tells() {
        tracing::warn!("an earlier keeper left a control group of the enclave; all in it is ended");
    }
    end(&left).await
}

/// Makes the group of the next run.
pub(super) fn create(config: &Config) -> Result<Cgroup, CgroupError> {
    let bounds = config.limits.beside(config.memory_mib);
    Cgroup::named(&Name::of_enclave(&config.run_dir), bounds)
}

/// Kills all that is in a group, and removes it once that has ended.
pub(super) async fn end(group: &Cgroup) -> Result<(), CgroupError> {
    let give_up = Instant::now() + PATIENCE;
    while !group.end()? {
        if Instant::now() > give_up {
            return Err(CgroupError::Io {
                path: group.above().next().map(Into::into).unwrap_or_default(),
                source: io::ErrorKind::TimedOut.into(),
            });
        }
        // The kernel tells nobody of version 1's groups that they are empty.
        sleep(RETRY).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
