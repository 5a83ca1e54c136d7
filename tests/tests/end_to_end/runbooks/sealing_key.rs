//! A sealing key that was stolen: it opens the store that was copied with it, and none that comes after.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bartizan_tests::accounts::Account;
use bartizan_tests::daemon::{Daemon, Recipe};
use bartizan_tests::layout::{self, Layout};
use bartizan_tests::operator::Operator;
use serde_json::{Value, json};

use super::{Runbook, current, rows, text, told};
use crate::machine::Machine;
use crate::world::World;

/// A short one: sockets have their paths in its folder.
const NAME: &str = "s1";

/// Store and key file of a vault, as they were at one time.
struct Copied {
    store: Vec<u8>,
    key: Vec<u8>,
}

/// Somebody with a vault of their own, in which copies are tried.
struct Thief {
    layout: Layout,
    account: Account,
    role: &'static str,
}

pub(super) fn carried_out(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let machine = Machine::new(stack, NAME)?;
    machine.sign()?;
    let booted = machine.boot()?;
    stack.enroll(&machine.layout, &machine.configs.card, NAME, &[])?;
    let operator = machine.operator(stack);
    let keys = operator.must(&["key", "list", "host"])?;
    let (card, tls) = (current(&keys, "card")?, current(&keys, "tls-client")?);

    let of_host = machine.layout.path("state/vault");
    let of_verifier = stack.layout.path("state/verifier-vault");
    let stolen = [Copied::of(&of_host)?, Copied::of(&of_verifier)?];
    Runbook::carried_out("A vault's sealing key", &operator, |book| {
        book.must("key rotate sealing --of host", &[])?;
        destroyed(&book.must("key history host --kind sealing", &[])?)?;
        book.must("key rotate card", &[])?;
        book.must("key rotate tls-client", &[])?;
        let keys = book.must("key list host", &[])?;
        ensure!(current(&keys, "card")? != card, "{keys}");
        ensure!(current(&keys, "tls-client")? != tls, "{keys}");
        ensure!(rows(&keys)?.iter().all(|key| key["id"] != *card), "{keys}");
        book.must("key rotate sealing --of verifier", &[])?;
        destroyed(&book.must("key history verifier --kind sealing", &[])?)?;
        let keys = book.must("key list verifier", &[])?;
        current(&keys, "fleet-ca")?;
        revoke_all(&operator, &keys)
    })?;
    // The host is who it was, and is served.
    machine.renew(stack)?;
    let events = operator.must(&["key", "history", "host", "--kind", "card"])?;
    told(&events, &card, &["superseded", "destroyed"])?;

    let thieves = [
        Thief::new(&machine.layout, stack.users.vault, "host")?,
        Thief::new(&machine.layout, stack.users.verifier_vault, "verifier")?,
    ];
    for ((thief, stolen), vault) in thieves.iter().zip(stolen).zip([of_host, of_verifier]) {
        let present = Copied::of(&vault)?;
        ensure!(stolen.key != present.key, "the key file is the former one");
        thief.opens(&present)?;
        // What the rotation does not take back.
        thief.opens(&stolen)?;
        let later = Copied {
            key: stolen.key,
            ..present
        };
        thief.does_not_open(&later)?;
    }
    booted.end()
}

/// The verifier's keys that do not outlive the theft; what the fleet CA's end is, other sections say.
fn revoke_all(operator: &Operator, keys: &Value) -> Result<()> {
    let is_doomed = |key: &&Value| key["kind"] != "fleet-ca";
    let doomed: Vec<_> = rows(keys)?.iter().filter(is_doomed).collect();
    for key in &doomed {
        let (kind, id) = (text(&key["kind"])?, text(&key["id"])?);
        operator.must(&["key", "revoke", &kind, &id])?;
    }
    let after = operator.must(&["key", "list", "verifier"])?;
    for kind in ["token", "tls-server"] {
        current(&after, kind)?;
    }
    let is_left = |key: &Value| doomed.iter().any(|doomed| doomed["id"] == key["id"]);
    ensure!(!rows(&after)?.iter().any(is_left), "{after}");
    Ok(())
}

/// That the last sealing key which another took the place of is gone.
fn destroyed(events: &Value) -> Result<()> {
    let superseded = |event: &&Value| event["event"] == "superseded";
    let former = rows(events)?.iter().rfind(superseded);
    let former = text(&former.context("no key was superseded")?["id"])?;
    told(events, &former, &["destroyed"])
}

impl Copied {
    fn of(vault: &Path) -> Result<Self> {
        Ok(Self {
            store: fs::read(vault.join("keys"))?,
            key: fs::read(vault.join("root.key"))?,
        })
    }
}

impl Thief {
    fn new(layout: &Layout, account: Account, role: &'static str) -> Result<Self> {
        Ok(Self {
            layout: layout.within(&format!("copy-{role}"))?,
            account,
            role,
        })
    }

    fn opens(&self, copied: &Copied) -> Result<()> {
        self.start(copied).map(drop)
    }

    fn does_not_open(&self, copied: &Copied) -> Result<()> {
        let refused = self.start(copied).err();
        let refused = refused.context("the former key file opens the present store")?;
        let said = format!("{refused:#}");
        ensure!(said.contains("the root key is another one"), "{said}");
        Ok(())
    }

    /// Starts a vault with them, which serves once it has opened the store.
    fn start(&self, copied: &Copied) -> Result<Daemon> {
        let state = self.layout.state("vault", self.account)?;
        let file = |name: &str, contents: &[u8]| -> Result<String> {
            let path = state.join(name);
            fs::write(&path, contents)?;
            chown(&path, Some(self.account.uid), Some(self.account.gid))?;
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            layout::text(&path)
        };
        let config = json!({
            "socket": layout::text(&state.join("vault.sock"))?,
            "allowed_uids": [self.account.uid],
            "store": file("keys", &copied.store)?,
            "sealing": { "key_file": file("root.key", &copied.key)? },
            "role": self.role,
        });
        let config = self.layout.config("vault.yaml", &config.to_string())?;
        let log = self.layout.path("vault.log");
        // What is said there is of this time.
        fs::remove_file(&log).ok();
        Daemon::start(Recipe {
            program: self.layout.program("bartizan-vault"),
            arguments: vec!["--config".into(), config],
            account: self.account,
            capabilities: &[],
            environment: Vec::new(),
            log,
        })
    }
}
