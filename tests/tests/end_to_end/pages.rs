//! Pages of a process in a guest, as the guest itself sees them.

use anyhow::{Context, Result, ensure};
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Pages in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    pub(crate) pid: u32,
    /// Number of the first: its virtual address / 4096.
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Pages {
    /// What a program in the guest computes over them; it reads them, which makes them present.
    pub(crate) fn inside(self, guest: &mut Guest, program: &str) -> Result<String> {
        let printed = self.read(guest, program)?;
        let digest = printed.split(' ').next().context("a digest")?;
        Ok(digest.to_owned())
    }

    /// Their contents, as a program in the guest reads them.
    pub(crate) fn bytes(self, guest: &mut Guest) -> Result<Vec<u8>> {
        let bytes = self.read(guest, "base64 -w0")?;
        Ok(BASE64_STANDARD.decode(bytes)?)
    }

    /// The page frames behind them (`Documentation/admin-guide/mm/pagemap.rst`).
    pub(crate) fn frames(self, guest: &mut Guest) -> Result<Vec<u64>> {
        const PRESENT: u64 = 1 << 63;
        const FRAME: u64 = (1 << 55) - 1;
        let Self { pid, first, count } = self;
        let entries = guest.agent.must(&format!(
            "dd if=/proc/{pid}/pagemap bs=8 skip={first} count={count} 2>/dev/null | od -An -v -tx8"
        ))?;
        let frames = entries.split_ascii_whitespace().map(|entry| {
            let entry = u64::from_str_radix(entry, 16)?;
            ensure!(entry & PRESENT != 0, "a page is not present");
            Ok(entry & FRAME)
        });
        frames.collect()
    }

    fn read(self, guest: &mut Guest, into: &str) -> Result<String> {
        let Self { pid, first, count } = self;
        let read = format!("dd if=/proc/{pid}/mem bs=4096 skip={first} count={count} 2>/dev/null");
        guest.agent.must(&format!("{read} | {into}"))
    }

    /// They as a target of `bartizan-guest attest`.
    pub(crate) fn virtually(self) -> String {
        let Self { pid, first, count } = self;
        format!(
            "--pid {pid} --region {:#x}+{:#x}",
            first * 4096,
            count * 4096
        )
    }

    /// The same bytes as a target by guest-physical address: a region for all frames in a row.
    pub(crate) fn physically(self, guest: &mut Guest) -> Result<String> {
        let frames = self.frames(guest)?;
        let in_a_row = frames.chunk_by(|one, next| one + 1 == *next);
        let regions: Vec<_> = in_a_row
            .map(|row| format!("--physical {:#x}+{:#x}", row[0] * 4096, row.len() * 4096))
            .collect();
        Ok(regions.join(" "))
    }
}
