//! A host of the fleet: vault, card, devices and hypervisor.

use anyhow::{Context, Result, bail};

use super::keeping::Kept;
use super::release::{Configs, Releases};
use super::{Author, Outside, Users, configs};
use crate::daemon::{Daemon, Recipe};
use crate::launcher::{Booted, Launcher};
use crate::layout::{Layout, text};
use crate::operator::Operator;
use crate::process::Process;

/// A running host. Dropped, every guest and daemon of it ends.
#[derive(Debug)]
pub struct Host {
    /// The hypervisor; guests survive it.
    pub hypervisor: Daemon,
    /// The devices.
    pub devices: Daemon,
    /// The card.
    pub card: Daemon,
    /// The vault.
    pub vault: Daemon,
    /// What started them.
    pub launcher: Launcher,
    /// What it was booted from.
    pub releases: Releases,
    /// The operator, at this host.
    pub operator: Operator,
    /// The host's files.
    pub layout: Layout,
    /// The processes' users.
    pub users: Users,
}

/// Who decides on guests' flows, and where they lead outside, if anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Network<'s> {
    /// Whose policies the enclave believes; none where there is no enclave.
    pub(super) author: Option<&'s Author>,
    /// The uplink's other end.
    pub(super) outside: Option<&'s Outside>,
}

impl Host {
    /// Boots it and enrols it with a join code of its own: every process serves.
    pub(super) fn start(
        layout: &Layout,
        users: Users,
        operator: Operator,
        mut releases: Releases,
        verifier_port: u16,
        (name, kept): (&str, Option<&Kept>),
        network: Network<'_>,
    ) -> Result<Self> {
        let configs = prepare(
            layout,
            &users,
            &operator,
            &mut releases,
            verifier_port,
            kept,
            network,
        )?;
        Self::begin(layout, users, operator, releases, &configs, (name, kept))
    }

    /// Boots and enrols one that was prepared.
    pub(super) fn begin(
        layout: &Layout,
        users: Users,
        operator: Operator,
        releases: Releases,
        configs: &Configs,
        (name, kept): (&str, Option<&Kept>),
    ) -> Result<Self> {
        releases.sign(layout, configs, [1, 1])?;
        releases.register()?;
        let (launcher, booted) = Launcher::start(layout, &releases.base(), &releases.public_key())?;
        if let Booted::Stopped(why) = booted {
            bail!(
                "{name} was not booted: {why}\n{}",
                launcher.last_words(&why)
            );
        }
        let kind = kept.map_or("development", |kept| kept.kind);
        let wish = ["--vault", kind];
        enroll(layout, &users, &operator, &configs.card, name, &wish)?;
        let daemon = |name| Daemon::Launched(launcher.daemon(name));
        Ok(Self {
            hypervisor: daemon("bartizan-hypervisor"),
            devices: daemon("bartizan-devices"),
            card: daemon("bartizan-card"),
            vault: daemon("bartizan-vault"),
            launcher,
            releases,
            operator,
            layout: layout.clone(),
            users,
        })
    }

    /// What keeps its enclave.
    #[must_use]
    pub fn keeper(&self) -> Daemon {
        Daemon::Launched(self.launcher.daemon("bartizan-keeper"))
    }

    /// The QEMU of its enclave; there must be one.
    pub fn enclave(&self) -> Result<Process> {
        let keeper = Process::of(self.keeper().pid()?)?;
        match keeper.children()?.as_slice() {
            [qemu] => Ok(*qemu),
            other => bail!("the keeper has not one process but {other:?}"),
        }
    }
}

/// The configurations of a host that is not booted yet.
pub(super) fn prepare(
    layout: &Layout,
    users: &Users,
    operator: &Operator,
    releases: &mut Releases,
    verifier_port: u16,
    kept: Option<&Kept>,
    Network { author, outside }: Network<'_>,
) -> Result<Configs> {
    let environment = kept.and_then(|kept| kept.environment.as_ref());
    releases.vault_environment = environment
        .map(|(name, value)| format!("{name}={value}"))
        .into_iter()
        .collect();
    Ok(Configs {
        vault: configs::vault(layout, users, &releases.key_sha256, kept)?,
        card: configs::card(layout, users, verifier_port, author.is_some())?,
        devices: configs::devices(layout, users, outside)?,
        hypervisor: configs::hypervisor(layout, users, operator, author.is_some())?,
        fleet_ca: text(&operator.fleet_ca())?,
        enclave: author
            .map(|author| configs::enclave(layout, users, operator, author))
            .transpose()?,
    })
}

impl Drop for Host {
    fn drop(&mut self) {
        let stop_all = || -> Result<()> {
            let guests = self.operator.must(&["vm", "list"])?;
            for guest in guests.as_array().into_iter().flatten() {
                let name = guest["name"].as_str().context("a guest has a name")?;
                self.operator.must(&["vm", "stop", "--force", name])?;
            }
            Ok(())
        };
        if let Err(error) = stop_all() {
            eprintln!("guests could not be stopped: {error:#}");
        }
    }
}

/// `bartizan host enroll`, as the card's user.
pub(super) fn enroll(
    layout: &Layout,
    users: &Users,
    operator: &Operator,
    config: &str,
    name: &str,
    wish: &[&str],
) -> Result<()> {
    let code = [&["host", "join-code", "--name", name], wish].concat();
    let answer = operator.must(&code)?;
    let code = answer["code"].as_str().context("a join code")?;
    let recipe = Recipe {
        program: layout.program("bartizan-card"),
        arguments: vec![
            "enroll".into(),
            "--config".into(),
            config.into(),
            "--name".into(),
            name.into(),
            "--fleet-ca".into(),
            text(&operator.fleet_ca())?,
        ],
        account: users.card,
        capabilities: &[],
        environment: Vec::new(),
        log: layout.path("card-enroll.log"),
    };
    Daemon::run_once(&recipe, code)
}
