//! A host without guests, which a test boots, ends, and boots again.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bartizan_tests::launcher::{Booted, Launcher};
use bartizan_tests::layout::{Layout, text};
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::{Configs, Releases, Stack, Users};
use serde_json::{Value, json};

use crate::asked;

/// How long a card may take to report in.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that is booted from its folder.
pub(crate) struct Machine {
    pub(crate) layout: Layout,
    pub(crate) releases: Releases,
    pub(crate) configs: Configs,
}

impl Machine {
    /// One that is neither booted nor enrolled. `name`: short, since sockets have their paths in its folder; what it calls itself.
    pub(crate) fn new(stack: &Stack, name: &str) -> Result<Self> {
        let (layout, releases, configs) = stack.unbooted_host(name)?;
        change(configs.card.as_ref(), |config| {
            config["machine"] = json!(name);
        })?;
        Ok(Self {
            layout,
            releases,
            configs,
        })
    }

    /// The host that a stack began with.
    pub(crate) fn of_host(stack: &Stack) -> Result<Self> {
        let file = |name: &str| text(&stack.layout.path(name));
        Ok(Self {
            layout: stack.layout.clone(),
            releases: stack.host.releases.clone(),
            configs: Configs {
                vault: file("vault.yaml")?,
                card: file("card.yaml")?,
                devices: file("devices.yaml")?,
                hypervisor: file("hypervisor.yaml")?,
                fleet_ca: text(&stack.operator.fleet_ca())?,
                enclave: None,
            },
        })
    }

    /// Signs its releases, and registers them.
    pub(crate) fn sign(&self) -> Result<()> {
        self.releases.sign(&self.layout, &self.configs, [1, 1])?;
        self.releases.register()
    }

    pub(crate) fn boot(&self) -> Result<Launcher> {
        let (base, key) = (self.releases.base(), self.releases.public_key());
        match Launcher::start(&self.layout, &base, &key)? {
            (launcher, Booted::Done) => Ok(launcher),
            (launcher, Booted::Stopped(why)) => {
                bail!("{why}\n{}", launcher.last_words(&why))
            }
        }
    }

    /// The operator, at this machine.
    pub(crate) fn operator(&self, stack: &Stack) -> Operator {
        let card = self.layout.path("run/card/operations.sock");
        stack.operator.at(card)
    }

    /// Puts its vault's store, what that was sealed by, and its card's state aside: its next boot finds none of them.
    pub(crate) fn put_aside(&self, users: &Users) -> Result<()> {
        for (name, account) in [("vault", users.vault), ("card", users.card)] {
            let state = self.layout.path(&format!("state/{name}"));
            fs::rename(&state, state.with_extension("aside"))?;
            self.layout.state(name, account)?;
        }
        Ok(())
    }

    /// Gets another one's store and root key. Whoever has these signs no releases by that; this machine's are its own.
    pub(crate) fn take_vault_of(&self, other: &Self, users: &Users) -> Result<()> {
        let account = users.vault;
        for file in ["keys", "root.key"] {
            let path = format!("state/vault/{file}");
            let to = self.layout.path(&path);
            fs::copy(other.layout.path(&path), &to)?;
            chown(&to, Some(account.uid), Some(account.gid))?;
        }
        Ok(())
    }

    /// Waits until its card has said so, so many times.
    pub(crate) fn says(&self, what: &str, times: usize) -> Result<()> {
        let log = self.layout.path("logs/bartizan-card.log");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.matches(what).count() >= times {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "`{what}` is not said:\n{said}");
        }
    }

    /// Has the host ask the verifier for something.
    pub(crate) fn renew(&self, stack: &Stack) -> Result<()> {
        asked::renew(&self.operator(stack))
    }

    /// The same, until it is served.
    pub(crate) fn served(&self, stack: &Stack) -> Result<()> {
        asked::served(&self.operator(stack))
    }

    /// The same, which the verifier must refuse for this reason; what was said.
    pub(crate) fn refused(&self, stack: &Stack, kind: &str) -> Result<String> {
        asked::refused(&self.operator(stack), kind)
    }
}

/// Changes a configuration file in place.
pub(crate) fn change(config: &Path, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(config)?)?;
    change(&mut value);
    Ok(fs::write(config, value.to_string())?)
}
