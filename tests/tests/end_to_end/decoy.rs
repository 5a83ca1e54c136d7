//! A process in the guest that maps bytes of a file executable, or huge pages, and does nothing with them.

use anyhow::{Context, Result};
use bartizan_tests::stack::Guest;

/// A running decoy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoy {
    pub(crate) pid: u32,
    /// Where its mapping lies.
    pub(crate) address: u64,
}

impl Decoy {
    /// Starts one that maps `size` bytes of a file from `offset`; none of its pages is touched.
    pub(crate) fn start(guest: &mut Guest, file: &str, offset: u64, size: u64) -> Result<Self> {
        Self::run(guest, &format!("decoy {file} {offset} {size}"))
    }

    /// Starts one with `count` huge pages of 2 MiB, `reserved` (hugetlbfs) or `transparent`, full of what differs
    /// from page to page.
    pub(crate) fn huge(guest: &mut Guest, kind: &str, count: u64) -> Result<Self> {
        Self::run(guest, &format!("huge {kind} {count}"))
    }

    fn run(guest: &mut Guest, arguments: &str) -> Result<Self> {
        // It tells through a pipe, so that we return when it is there, and holds none of our shell's.
        let told = guest.agent.must(&format!(
            "rm -f /run/decoy && mkfifo /run/decoy && \
             {{ /opt/bartizan/bin/bartizan-test-agent {arguments} \
                </dev/null >/run/decoy 2>/dev/null & }} && head -n 1 /run/decoy"
        ))?;
        let (pid, address) = told.trim().split_once(' ').context("a decoy's words")?;
        let address = address.strip_prefix("0x").context("an address")?;
        Ok(Self {
            pid: pid.parse()?,
            address: u64::from_str_radix(address, 16)?,
        })
    }

    /// Ends it.
    pub(crate) fn stop(self, guest: &mut Guest) -> Result<()> {
        guest.agent.must(&format!("kill -9 {}", self.pid))?;
        Ok(())
    }
}
