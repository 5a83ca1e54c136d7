//! What a guest would not keep if it were disturbed.

use anyhow::{Context, Result, ensure};
use bartizan_tests::stack::{Guest, Stack};
use serde_json::Value;

/// A guest's boot, and how long it lasted when it was looked at.
pub(crate) struct Life {
    boot: String,
    uptime: f64,
}

impl Life {
    pub(crate) fn of(guest: &mut Guest) -> Result<Self> {
        let boot = guest.agent.must("cat /proc/sys/kernel/random/boot_id")?;
        let uptime = guest.agent.must("cut -d' ' -f1 /proc/uptime")?;
        Ok(Self {
            boot,
            uptime: uptime.trim().parse()?,
        })
    }

    /// Fails unless it is the same boot, whose clock runs.
    pub(crate) fn check(&self, guest: &mut Guest) -> Result<()> {
        let now = Self::of(guest)?;
        let name = &guest.name;
        ensure!(now.boot == self.boot, "{name} was booted anew");
        ensure!(now.uptime > self.uptime, "the clock of {name} stands still");
        Ok(())
    }
}

/// Fails unless the same guests run in the same boots.
pub(crate) fn same_guests(stack: &Stack, before: &Value) -> Result<()> {
    let now = stack.operator.must(&["vm", "list"])?;
    let name = |guest: &Value| guest["name"].as_str().map(str::to_owned).context("a name");
    for was in before.as_array().context("a list of guests")? {
        let name = name(was)?;
        let mut guests = now.as_array().into_iter().flatten();
        let is = guests.find(|guest| guest["name"] == was["name"]);
        let is = is.with_context(|| format!("{name} is not there any more"))?;
        ensure!(is["guest"] == was["guest"], "{name} was {was}, is {is}");
        // For a moment of each measurement it is paused.
        ensure!(is["state"] == "running" || is["state"] == "paused", "{is}");
    }
    Ok(())
}
