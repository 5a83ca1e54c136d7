//! A host's software vault, copied to another machine: the verifier names both, and refuses both.

use std::fs;
use std::os::unix::fs::chown;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_tests::launcher::{Booted, Launcher};
use bartizan_tests::layout::Layout;
use bartizan_tests::stack::{Configs, Releases, Stack};
use serde_json::{Value, json};

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[(
    "forks::copied_vault_is_noticed_and_both_hosts_are_refused",
    copied_vault,
)];

/// How long a card may take to report in.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that is booted from its folder.
struct Machine {
    layout: Layout,
    releases: Releases,
    configs: Configs,
}

fn copied_vault(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let original = Machine::new(stack, "f1")?;
    original.sign()?;
    let booted = original.boot()?;
    stack.enroll(&original.layout, &original.configs.card, "f1", &[])?;
    original.says("reported in", 1)?;
    booted.end()?;

    let mut copy = Machine::new(stack, "f2")?;
    copy.take_over(&original, stack)?;

    // The original goes on; then the copy, from what the original has used up.
    let booted = original.boot()?;
    original.says("reported in", 2)?;
    ensure!(fork_of(stack, "f1")?.is_null(), "a fork of one");
    ensure!(original.renew(stack).is_ok(), "the original is refused");
    copy.sign()?;
    let booted_copy = copy.boot()?;
    copy.says("could not report in", 1)?;
    copy.says("vault-forked", 1)?;

    let fork = fork_of(stack, "f1")?;
    let names: Vec<_> = (0..2).map(|at| &fork["reporters"][at]["machine"]).collect();
    ensure!(names == ["f1", "f2"], "{fork}");
    for machine in [&original, &copy] {
        let refused = machine.renew(stack);
        let Err(refused) = refused else {
            bail!("{} is not refused", machine.name()?);
        };
        let said = format!("{refused:#}");
        for word in ["vault-forked", "`f1`", "`f2`"] {
            ensure!(said.contains(word), "{word}: {said}");
        }
    }

    // The copy is ended, and the original taken again.
    booted_copy.end()?;
    let card = hosts(stack, "f1")?["card"]
        .as_str()
        .context("a card")?
        .to_owned();
    stack.operator.must(&["host", "clear-fork", &card])?;
    ensure!(fork_of(stack, "f1")?.is_null(), "it is still a fork");
    original.renew(stack)?;
    let again = stack.operator.run(&["host", "clear-fork", &card])?;
    ensure!(again.code == Some(1), "{again:?}");
    booted.end()
}

impl Machine {
    /// `name`: short, since sockets have their paths in its folder; what it calls itself.
    fn new(stack: &Stack, name: &str) -> Result<Self> {
        let (layout, releases, configs) = stack.unbooted_host(name)?;
        change(&configs.card, |config| config["machine"] = json!(name))?;
        Ok(Self {
            layout,
            releases,
            configs,
        })
    }

    fn name(&self) -> Result<String> {
        let config: Value = serde_json::from_str(&fs::read_to_string(&self.configs.card)?)?;
        Ok(config["machine"].as_str().context("a name")?.to_owned())
    }

    fn sign(&self) -> Result<()> {
        self.releases.sign(&self.layout, &self.configs, [1, 1])?;
        self.releases.register()
    }

    fn boot(&self) -> Result<Launcher> {
        let (base, key) = (self.releases.base(), self.releases.public_key());
        match Launcher::start(&self.layout, &base, &key)? {
            (launcher, Booted::Done) => Ok(launcher),
            (launcher, Booted::Stopped(why)) => {
                bail!("{why}\n{}", launcher.last_words(&why))
            }
        }
    }

    /// Gets the store, the root key, and what else is needed to boot with them: the right to sign releases.
    fn take_over(&mut self, original: &Self, stack: &Stack) -> Result<()> {
        self.releases = original.releases.clone();
        let key = &self.releases.key_sha256;
        change(&self.configs.vault, |config| {
            config["measured_boot"]["release_key"] = json!(key);
        })?;
        let account = stack.users.vault;
        for file in ["keys", "root.key"] {
            let path = format!("state/vault/{file}");
            let to = self.layout.path(&path);
            fs::copy(original.layout.path(&path), &to)?;
            chown(&to, Some(account.uid), Some(account.gid))?;
        }
        Ok(())
    }

    /// Waits until its card has said so, so many times.
    fn says(&self, what: &str, times: usize) -> Result<()> {
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
    fn renew(&self, stack: &Stack) -> Result<()> {
        let card = self.layout.path("run/card/operations.sock");
        let operator = stack.operator.at(card);
        operator.must(&["host", "renew"]).map(drop)
    }
}

fn change(config: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(config)?)?;
    change(&mut value);
    Ok(fs::write(config, value.to_string())?)
}

fn hosts(stack: &Stack, name: &str) -> Result<Value> {
    let hosts = stack.operator.must(&["host", "list"])?;
    let mut hosts = hosts.as_array().context("a list of hosts")?.iter();
    let host = hosts.find(|host| host["name"] == name).cloned();
    host.with_context(|| format!("no host {name}"))
}

fn fork_of(stack: &Stack, name: &str) -> Result<Value> {
    Ok(hosts(stack, name)?["fork"].clone())
}
