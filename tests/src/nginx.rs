//! The nginx that a guest runs, and tampering with it as root in the guest can.

use anyhow::{Context, Result};

use crate::stack::Guest;

/// Where in the text an instruction is patched.
const PATCHED: u64 = 0x5123;
/// What it is patched with, in octal: a breakpoint.
const INT3: &str = "314";

/// A running nginx: its master process.
#[derive(Clone, Copy, Debug)]
pub struct Nginx {
    /// Its pid.
    pub pid: u32,
    /// Its code.
    pub text: Text,
}

/// The mapping of the code.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// Where it begins, virtually.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its offset in the file.
    pub file_offset: u64,
}

impl Nginx {
    /// The nginx of a guest.
    pub fn of(guest: &mut Guest) -> Result<Self> {
        let pid = guest.agent.must("cat /run/nginx.pid")?.trim().parse()?;
        Self::with_pid(guest, pid)
    }

    /// Starts another nginx beside the guest's own: the same program, nothing to serve.
    pub fn start_second(guest: &mut Guest) -> Result<Self> {
        let pid = guest.agent.must(
            "printf 'pid /run/second.pid; error_log /run/second.log; events {}' >/run/second.conf && \
             nginx -q -c /run/second.conf </dev/null >/dev/null 2>&1 && cat /run/second.pid",
        )?;
        Self::with_pid(guest, pid.trim().parse()?)
    }

    /// Ends one that was started so, its workers too, and waits until they are gone.
    pub fn stop(self, guest: &mut Guest) -> Result<()> {
        let pid = self.pid;
        guest.agent.must(&format!(
            "kill -TERM {pid} && timeout 30 tail --pid={pid} -f /dev/null"
        ))?;
        Ok(())
    }

    fn with_pid(guest: &mut Guest, pid: u32) -> Result<Self> {
        let maps = guest.agent.must(&format!("cat /proc/{pid}/maps"))?;
        let line = maps
            .lines()
            .find(|line| line.contains("r-xp") && line.ends_with("/usr/sbin/nginx"));
        let line = line.context("nginx has no text mapping")?;
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words
            .next()
            .and_then(|range| range.split_once('-'))
            .context("a range")?;
        let start = u64::from_str_radix(start, 16)?;
        let offset = words.nth(1).context("an offset")?;
        let text = Text {
            start,
            size: u64::from_str_radix(end, 16)? - start,
            file_offset: u64::from_str_radix(offset, 16)?,
        };
        Ok(Self { pid, text })
    }

    /// One of its workers: another process with the same text.
    pub fn worker(&self, guest: &mut Guest) -> Result<u32> {
        let pid = self.pid;
        let children = format!("cat /proc/{pid}/task/{pid}/children");
        let children = guest.agent.must(&children)?;
        let worker = children.split_ascii_whitespace().next();
        Ok(worker.context("nginx has no worker")?.parse()?)
    }

    /// Works with the master's code patched in one byte, in its memory only, and mends it whatever happens.
    pub fn while_patched<T>(
        &self,
        guest: &mut Guest,
        work: impl FnOnce(&mut Guest) -> Result<T>,
    ) -> Result<T> {
        let original = self.byte(guest)?;
        self.patch(guest)?;
        let done = work(guest);
        self.write(guest, &original)?;
        done
    }

    /// Patches the master's code in one byte, in its memory only.
    pub fn patch(&self, guest: &mut Guest) -> Result<()> {
        self.write(guest, INT3)
    }

    /// The page that a patch changes.
    #[must_use]
    pub const fn patched_page(&self) -> u64 {
        (self.text.start + PATCHED) & !0xfff
    }

    /// The byte to be patched, in octal.
    pub fn byte(&self, guest: &mut Guest) -> Result<String> {
        let (pid, at) = (self.pid, self.text.start + PATCHED);
        guest.agent.must(&format!(
            "dd if=/proc/{pid}/mem bs=1 skip={at} count=1 2>/dev/null | od -An -to1 | tr -d ' \\n'"
        ))
    }

    /// Writes it.
    pub fn write(&self, guest: &mut Guest, octal: &str) -> Result<()> {
        let (pid, at) = (self.pid, self.text.start + PATCHED);
        guest.agent.must(&format!(
            "printf '\\{octal}' | dd of=/proc/{pid}/mem bs=1 seek={at} conv=notrunc 2>/dev/null"
        ))?;
        Ok(())
    }
}
