//! The private keys of the vaults, searched for in the memory of every process and in every file: found in the vault that
//! has them, so that the search is known to find them, and nowhere else.

mod answers;
mod forms;
mod memory;
mod scalars;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::keys::{KeyDescription, Purpose, VaultReply, VaultRequest};
use bartizan_local::{read_frame, write_frame};
use bartizan_tests::accounts::Account;
use bartizan_tests::process::Process;
use bartizan_tests::stack::Stack;

use crate::Case;
use crate::world::World;
use forms::Needles;
use scalars::Scalar;

pub(crate) const CASES: &[Case] = &[
    ("secrets::every_form_of_a_key_is_found", every_form),
    (
        "secrets::private_keys_are_in_their_vault_alone",
        in_their_vault_alone,
    ),
];

/// How long a vault may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A vault of the stack.
struct Vault {
    name: &'static str,
    process: Process,
    scalars: Vec<Scalar>,
}

/// The search itself: a key that nobody guards, in each form in which one could leak.
fn every_form(_: &mut World) -> Result<()> {
    let key = EphemeralKey::generate()?;
    let der = key.pkcs8_der();
    let scalar = scalars::of_pkcs8(der)?;
    let needles = Needles::of(std::slice::from_ref(&scalar));
    let base64 = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes);
    let url = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE, bytes);
    let big = scalar.big_endian.clone();
    let little: Vec<_> = big.iter().rev().copied().collect();
    let pem = |bytes: &[u8]| {
        let text = base64(bytes);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        lines.join("\n").into_bytes()
    };
    let mut forms = vec![
        ("PKCS #8", der.to_vec()),
        ("big-endian", big.clone()),
        ("little-endian limbs", little.clone()),
        ("hexadecimal", hex::encode(&big).into_bytes()),
        (
            "hexadecimal, upper case",
            hex::encode_upper(&big).into_bytes(),
        ),
        ("hexadecimal of limbs", hex::encode(&little).into_bytes()),
        ("PKCS #8 as PEM", pem(der)),
        ("half of it", big[20..].to_vec()),
    ];
    for before in 0..3 {
        let shifted = [&vec![7; before], big.as_slice()].concat();
        forms.push(("base64", base64(&shifted).into_bytes()));
        forms.push(("base64url", url(&shifted).into_bytes()));
    }
    for (form, bytes) in forms {
        for before in [0, 1, 4093] {
            let hidden = [&vec![0xa5; before], bytes.as_slice(), &[1, 2, 3]].concat();
            let found = needles.search(&mut hidden.as_slice())?;
            ensure!(found == BTreeSet::from([0]), "{form}, after {before} bytes");
        }
    }
    let other = EphemeralKey::generate()?;
    let found = needles.search(&mut other.pkcs8_der())?;
    ensure!(found.is_empty(), "another key is taken for this one");
    Ok(())
}

fn in_their_vault_alone(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    // Every key was used just now, since vaults keep only those open: the first two are certified by the others.
    for kind in ["tls-client", "tls-server", "token"] {
        stack.operator.must(&["key", "rotate", kind])?;
    }
    let (code, answer) = web.attest("--application nginx --pid $(cat /run/nginx.pid)")?;
    ensure!(code == Some(0), "{answer}");
    let vaults = [
        Vault::of(&Door::of_host(stack)?)?,
        Vault::of(&Door::of_verifier(stack)?)?,
    ];
    for (at, wanted) in [
        (0, [Purpose::CardIdentity, Purpose::TlsClient].as_slice()),
        (1, &[Purpose::FleetCa, Purpose::TlsServer, Purpose::Token]),
    ] {
        // The positive control: where they are, the search finds them.
        let Vault {
            name,
            process,
            scalars,
        } = &vaults[at];
        for purpose in wanted {
            let known = scalars.iter().any(|scalar| scalar.purpose == *purpose);
            ensure!(
                known,
                "{name} uses a {purpose:?} key that is not found in its memory"
            );
        }
        let found = memory::search(*process, &Needles::of(scalars))?.found;
        ensure!(
            found.len() == scalars.len(),
            "{name}: {} of {} keys",
            found.len(),
            scalars.len()
        );
    }
    let all: Vec<_> = vaults
        .iter()
        .flat_map(|vault| vault.scalars.clone())
        .collect();
    let needles = Needles::of(&all);
    let processes = processes(stack)?;
    let programs: BTreeSet<_> = processes.iter().map(|(name, _)| name.as_str()).collect();
    for wanted in [
        "bartizan-launcher",
        "bartizan-vault",
        "bartizan-card",
        "bartizan-devices",
        "bartizan-hypervisor",
        "bartizan-supervisor",
        "bartizan-measurer",
        "bartizan-verifier",
    ] {
        ensure!(
            programs.contains(wanted),
            "no {wanted} was searched: {programs:?}"
        );
    }
    ensure!(programs.len() > 8, "no QEMU was searched: {programs:?}");
    for (name, process) in &processes {
        let searched = memory::search(*process, &needles)?;
        ensure!(
            searched.bytes >= process.status("VmRSS")?.parse::<u64>()? << 9,
            "{name}: {} bytes only could be read",
            searched.bytes
        );
        let own = |scalar: &Scalar| {
            let its = vaults.iter().find(|vault| vault.process == *process);
            its.is_some_and(|vault| vault.scalars.iter().any(|its| its.id == scalar.id))
        };
        for at in searched.found {
            let purpose = all[at].purpose;
            ensure!(
                own(&all[at]),
                "{name} ({}) has a {purpose:?} key",
                process.pid()
            );
        }
    }
    answers::give_nothing_away(stack, &needles)?;
    let mut files = 0;
    search_files(&stack.layout.path(""), &needles, &all, &mut files)?;
    ensure!(files > 40, "{files} files only were searched");
    eprintln!(
        "{} keys: {} processes and {files} files were searched",
        all.len(),
        processes.len()
    );
    Ok(())
}

/// Vaults whose keys are in a device have the private number of none, though each was used just now.
pub(crate) fn are_in_the_devices_alone(doors: &[Door]) -> Result<()> {
    for door in doors {
        let keys = door.keys()?;
        ensure!(keys.len() > 1, "{} has no keys", door.name);
        let found = scalars::in_memory(door.process, &keys)?;
        let purposes: Vec<_> = found.iter().map(|scalar| scalar.purpose).collect();
        ensure!(found.is_empty(), "{} has {purposes:?} keys", door.name);
    }
    Ok(())
}

/// Where a vault is asked.
pub(crate) struct Door {
    name: &'static str,
    process: Process,
    /// Who may ask it.
    client: Account,
    socket: PathBuf,
}

impl Door {
    pub(crate) fn of_host(stack: &Stack) -> Result<Self> {
        Ok(Self {
            name: "the host's vault",
            process: Process::of(stack.host.vault.pid()?)?,
            client: stack.users.card,
            socket: stack.host.layout.path("run/vault/vault.sock"),
        })
    }

    pub(crate) fn of_verifier(stack: &Stack) -> Result<Self> {
        Ok(Self {
            name: "the verifier's vault",
            process: Process::of(stack.verifier_vault.pid()?)?,
            client: stack.users.verifier,
            socket: stack.layout.path("run/verifier-vault/vault.sock"),
        })
    }

    fn ask(&self, request: &VaultRequest) -> Result<VaultReply> {
        let mut link = self.client.connect(&self.socket)?;
        link.set_read_timeout(Some(PATIENCE))?;
        write_frame(&mut link, request, VaultRequest::MAX_FRAME)?;
        Ok(read_frame(&mut link, VaultRequest::MAX_FRAME)?)
    }

    fn keys(&self) -> Result<Vec<KeyDescription>> {
        match self.ask(&VaultRequest::Describe)? {
            VaultReply::Description { keys, .. } => Ok(keys),
            other => bail!("{} does not describe itself: {other:?}", self.name),
        }
    }
}

impl Vault {
    fn of(door: &Door) -> Result<Self> {
        Ok(Self {
            name: door.name,
            process: door.process,
            scalars: scalars::in_memory(door.process, &door.keys()?)?,
        })
    }
}

/// All processes of the stack and their programs: what the launcher started, what that started, and the verifier's.
fn processes(stack: &Stack) -> Result<Vec<(String, Process)>> {
    let mut left = vec![
        stack.host.launcher.process()?,
        Process::of(stack.verifier.pid()?)?,
        Process::of(stack.verifier_vault.pid()?)?,
    ];
    // A supervisor outlives the hypervisor that started it, and then is nobody's child there.
    let shown = stack.operator.must(&["vm", "show", "web"])?;
    left.push(Process::of_json(&shown["qemu_pid"])?.parent()?);
    let mut all: Vec<(String, Process)> = Vec::new();
    while let Some(process) = left.pop() {
        if all.iter().any(|(_, searched)| *searched == process) {
            continue;
        }
        left.extend(process.children()?);
        all.push((process.program()?, process));
    }
    Ok(all)
}

/// Every file of the stack: state, sockets' folders, logs, guests' disks; not the programs themselves.
fn search_files(folder: &Path, needles: &Needles, all: &[Scalar], files: &mut usize) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && entry.file_name() != "bin" {
            search_files(&path, needles, all, files)?;
        } else if kind.is_file() {
            let file = match File::open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                file => file.with_context(|| path.display().to_string())?,
            };
            // A log grows while it is read.
            let mut file = file.take(entry.metadata()?.len());
            if let Some(at) = needles.search(&mut file)?.first() {
                bail!("{} has a {:?} key", path.display(), all[*at].purpose);
            }
            *files += 1;
        }
    }
    Ok(())
}
