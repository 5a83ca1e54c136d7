//! The daemons' configurations.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::keeping::Kept;
use super::release::EnclaveConfigs;
use super::{Author, Guests, Outside, Users};
use crate::control_groups;
use crate::layout::{Layout, text};
use crate::maker::Maker;
use crate::operator::Operator;

/// Where devices ask about flows, in the host's layout.
const DECISIONS_SOCKET: &str = "run/devices/decisions.sock";

/// What the enclave's kernel is told. Debian's would test its own ciphers, of which nothing there uses any, for an eighth of its start.
const ENCLAVE_COMMAND_LINE: &str =
    "console=ttyS0 quiet panic=-1 random.trust_cpu=on cryptomgr.notests";

// JSON is YAML: what is built from values needs no quoting by hand.

/// Where a host's card serves the coordinator's first stage, in the host's layout.
pub(super) const COORDINATOR_SOCKET: &str = "run/card/coordinator.sock";

pub(super) fn verifier_vault(
    layout: &Layout,
    users: &Users,
    operators: &[Value],
    kept: Option<&Kept>,
) -> Result<String> {
    let state = layout.state("verifier-vault", users.verifier_vault)?;
    let run = layout.run("verifier-vault", users.verifier_vault)?;
    let config = json!({
        "socket": text(&run.join("vault.sock"))?,
        "allowed_uids": [users.verifier.uid],
        "store": text(&state.join("keys"))?,
        "sealing": sealing(&state, kept)?,
        "role": "verifier",
        "operators": operators,
    });
    layout.config("verifier-vault.yaml", &config.to_string())
}

/// The device, or a file.
fn sealing(state: &Path, kept: Option<&Kept>) -> Result<Value> {
    match kept {
        Some(kept) => Ok(kept.sealing.clone()),
        None => Ok(json!({ "key_file": text(&state.join("root.key"))? })),
    }
}

pub(super) fn verifier(
    layout: &Layout,
    users: &Users,
    (release_key, author): (&str, &Author),
    maker: &Maker,
    port: u16,
) -> Result<String> {
    let state = layout.state("verifier", users.verifier)?;
    let config = json!({
        "listen": [format!("127.0.0.1:{port}")],
        "names": ["localhost", "127.0.0.1"],
        "database": text(&state.join("verifier.db"))?,
        "vault_socket": text(&layout.path("run/verifier-vault/vault.sock"))?,
        "fleet_name": "demo fleet",
        "tpm_makers": maker.certificate()?,
        "policy_authors": author.named(),
        "measured_boot": { "demanded": { "release_keys": [release_key], "firmware": "not_demanded" } },
        // What tests, benchmarks and soaks ask of one guest in minutes, others ask in days.
        "verdicts": {
            "per_guest_per_minute": 100_000, "guest_burst": 100_000,
            "per_host_per_minute": 100_000, "host_burst": 100_000,
        },
    });
    layout.config("verifier.yaml", &config.to_string())
}

pub(super) fn vault(
    layout: &Layout,
    users: &Users,
    release_key: &str,
    kept: Option<&Kept>,
) -> Result<String> {
    let state = layout.state("vault", users.vault)?;
    let run = layout.run("vault", users.vault)?;
    let config = json!({
        "socket": text(&run.join("vault.sock"))?,
        "allowed_uids": [users.card.uid],
        "store": text(&state.join("keys"))?,
        "sealing": sealing(&state, kept)?,
        "role": "host",
        "measured_boot": { "release_key": release_key },
    });
    layout.config("vault.yaml", &config.to_string())
}

pub(super) fn card(layout: &Layout, users: &Users, port: u16, enclave: bool) -> Result<String> {
    let state = layout.state("card", users.card)?;
    let run = layout.run("card", users.card)?;
    let mut config = json!({
        "socket": text(&run.join("card.sock"))?,
        "allowed_uids": [users.hypervisor.uid],
        "operations_socket": text(&run.join("operations.sock"))?,
        // The tests run as root.
        "operators_uids": [0],
        "hypervisor_socket": text(&layout.path("run/hypervisor/operator.sock"))?,
        "coordinator": {
            "socket": text(&layout.path(COORDINATOR_SOCKET))?,
            "allowed_uids": [users.coordinator.uid],
        },
        "vault_socket": text(&layout.path("run/vault/vault.sock"))?,
        "state_dir": text(&state)?,
        "verifier": { "host": "127.0.0.1", "port": port, "server_name": "localhost" },
    });
    if enclave {
        config["enclave"] = json!({
            "socket": text(&run.join("enclave.sock"))?,
            "verifier_socket": text(&run.join("verifier.sock"))?,
            "keeper_socket": text(&run.join("keeper.sock"))?,
            "allowed_uids": [users.keeper.uid],
        });
    }
    layout.config("card.yaml", &config.to_string())
}

pub(super) fn devices(layout: &Layout, users: &Users, outside: Option<&Outside>) -> Result<String> {
    let run = layout.run("devices", users.devices)?;
    let config = json!({
        "control_socket": text(&run.join("control.sock"))?,
        "decisions_socket": text(&run.join("decisions.sock"))?,
        "hypervisor_uid": users.hypervisor.uid,
        "allowed_uids": [users.supervisor.uid],
    });
    let config = match outside {
        Some(outside) => with(config, "uplinks", outside.settings()),
        None => config,
    };
    layout.config("devices.yaml", &config.to_string())
}

/// Keeper, enclave, its kernel's command line.
pub(super) fn enclave(
    layout: &Layout,
    users: &Users,
    operator: &Operator,
    author: &Author,
) -> Result<EnclaveConfigs> {
    let run = layout.run("keeper", users.keeper)?;
    let socket = |name: &str| text(&layout.path(&format!("run/{name}")));
    let keeper = json!({
        "run_dir": text(&run)?,
        "kernel": "measured:enclave/kernel",
        "image": "measured:enclave/image",
        "config": "measured:enclave/config",
        "command_line": "measured:enclave/command-line",
        "qemu": {
            "program": "measured:qemu-system-x86_64",
            "user": { "uid": users.enclave.uid, "gid": users.enclave.gid },
        },
        "links": {
            "card": socket("card/enclave.sock")?,
            "hypervisor": socket("hypervisor/enclave.sock")?,
            "verifier": socket("card/verifier.sock")?,
            "status": socket("card/keeper.sock")?,
        },
    });
    let keeper = match without_limits()? {
        true => with(keeper, "limits", json!({ "optional": true })),
        false => keeper,
    };
    let own = json!({
        "fleet_ca": fs::read_to_string(operator.fleet_ca())?,
        "verifier": "localhost",
        "authors": author.named(),
    });
    Ok(EnclaveConfigs {
        keeper: layout.config("keeper.yaml", &keeper.to_string())?,
        enclave: layout.config("enclave.yaml", &own.to_string())?,
        command_line: layout.config("enclave.cmdline", ENCLAVE_COMMAND_LINE)?,
    })
}

pub(super) fn hypervisor(
    layout: &Layout,
    users: &Users,
    operator: &Operator,
    enclave: bool,
) -> Result<String> {
    let run = layout.run("hypervisor", users.hypervisor)?;
    layout.run("agents", users.hypervisor)?;
    readable(&operator.fleet_ca())?;
    let without_limits = without_limits()?;
    let mut config = json!({
        "run_dir": text(&run)?,
        "operator_socket": text(&run.join("operator.sock"))?,
        // Not root: what it does is the card's to authorise.
        "allowed_uids": [users.card.uid],
        "card_socket": text(&layout.path("run/card/card.sock"))?,
        "devices_socket": text(&layout.path("run/devices/control.sock"))?,
        "devices_uid": users.devices.uid,
        "fleet_ca": "measured:fleet-ca.pem",
        "images": [text(&layout.images()?)?],
        "supervisor": {
            "program": "measured:bartizan-supervisor",
            "user": { "uid": users.supervisor.uid, "gid": users.supervisor.gid },
        },
        "qemu": {
            "program": "measured:qemu-system-x86_64",
            "users": guests(users.qemus),
        },
        "measurer": {
            "program": "measured:bartizan-measurer",
            "users": guests(users.measurers),
        },
        "limits": { "optional": without_limits },
        "services": {
            "test-agent": { "port": 2000, "socket": format!("{}/{{uuid}}.sock", text(&layout.path("run/agents"))?) },
            // Answers at once: what the way through the devices costs alone.
            "echo": { "port": 2001, "socket": format!("{}/{{uuid}}.echo", text(&layout.path("run/agents"))?) },
        },
    });
    if enclave {
        config["enclave"] = json!({
            "socket": text(&run.join("enclave.sock"))?,
            "keeper_uid": users.keeper.uid,
            "decisions_socket": text(&layout.path(DECISIONS_SOCKET))?,
        });
    }
    layout.config("hypervisor.yaml", &config.to_string())
}

/// Whoever starts the tests may have no control group to give.
fn without_limits() -> Result<bool> {
    let lack = control_groups::lack()?;
    if let Some(lack) = &lack {
        eprintln!("guests run without some of their limits: {lack}");
    }
    Ok(lack.is_some())
}

fn with(mut config: Value, name: &str, section: Value) -> Value {
    config[name] = section;
    config
}

fn guests(users: Guests) -> Value {
    json!({ "first": users.first, "count": users.count, "gid": users.gid })
}

/// Lets everybody read a file that is no secret.
pub(super) fn readable(file: &Path) -> Result<()> {
    Ok(fs::set_permissions(file, Permissions::from_mode(0o644))?)
}

/// Lets everybody pass through a folder.
pub(super) fn enterable(folder: &Path) -> Result<()> {
    Ok(fs::set_permissions(folder, Permissions::from_mode(0o711))?)
}
