//! A host of the fleet: vault, card, devices and hypervisor.

use anyhow::{Context, Result};

use super::{Users, configs, start};
use crate::daemon::{Daemon, Recipe};
use crate::layout::{Layout, text};
use crate::operator::Operator;

/// What the hypervisor needs beyond its user's rights: to start QEMU and measurers as other users, to signal
/// them, and to make their control groups.
const HYPERVISOR_CAPABILITIES: &[&str] = &["setuid", "setgid", "kill", "dac_override"];

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
    /// The operator, at this host.
    pub operator: Operator,
    /// The host's files.
    pub layout: Layout,
    /// The processes' users.
    pub users: Users,
}

impl Host {
    /// Starts everything: enrolled with a join code of its own, every process serving.
    pub(super) fn start(
        layout: &Layout,
        users: Users,
        operator: Operator,
        verifier_port: u16,
        name: &str,
    ) -> Result<Self> {
        let config = configs::vault(layout, &users)?;
        let vault = start(layout, "bartizan-vault", config, users.vault, &[])?;

        let config = configs::card(layout, &users, verifier_port)?;
        enroll(layout, &users, &operator, &config, name)?;
        let card = Daemon::start(Recipe {
            program: layout.program("bartizan-card"),
            arguments: vec!["run".into(), "--config".into(), config],
            account: users.card,
            capabilities: &[],
            log: layout.path("card.log"),
        })?;

        let config = configs::devices(layout, &users)?;
        let devices = start(layout, "bartizan-devices", config, users.devices, &[])?;

        let config = configs::hypervisor(layout, &users, &operator)?;
        let hypervisor = start(
            layout,
            "bartizan-hypervisor",
            config,
            users.hypervisor,
            HYPERVISOR_CAPABILITIES,
        )?;
        Ok(Self {
            hypervisor,
            devices,
            card,
            vault,
            operator,
            layout: layout.clone(),
            users,
        })
    }
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
fn enroll(
    layout: &Layout,
    users: &Users,
    operator: &Operator,
    config: &str,
    name: &str,
) -> Result<()> {
    let answer = operator.must(&["host", "join-code", "--name", name])?;
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
        log: layout.path("card-enroll.log"),
    };
    Daemon::run_once(&recipe, code)
}
