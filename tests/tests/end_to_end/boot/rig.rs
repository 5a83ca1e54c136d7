//! A host that is booted again and again, from releases that a test has changed.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::boot::{Bundle, VerifiedManifest};
use bartizan_attestation::certificates::{Subject, Usage};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::keys::{
    BootDescription, KeyDescription, Purpose, VaultRefusal, VaultReply, VaultRequest,
};
use bartizan_attestation::measurement::Digest;
use bartizan_local::{read_frame, write_frame};
use bartizan_tests::launcher::{Booted, Launcher};
use bartizan_tests::layout::{Layout, text};
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::{Configs, Releases, Stack, Users};
use serde_json::{Value, json};

use crate::asked;
use crate::world::World;

/// How long a vault may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Rig {
    pub(super) layout: Layout,
    users: Users,
    pub(super) releases: Releases,
    pub(super) configs: Configs,
    /// Of the vault.
    pub(super) environment: Vec<String>,
    launcher: Option<Launcher>,
    copies: u32,
}

/// How a boot went.
pub(super) struct Outcome(Booted, Launcher);

impl Outcome {
    pub(super) fn done(self) -> Result<()> {
        match self.0 {
            Booted::Done => Ok(()),
            Booted::Stopped(why) => {
                bail!("the boot was stopped: {why}\n{}", self.1.last_words(&why))
            }
        }
    }

    pub(super) fn stopped(self) -> Result<String> {
        match self.0 {
            Booted::Done => bail!("the boot was not stopped"),
            Booted::Stopped(why) => Ok(why),
        }
    }
}

impl Rig {
    /// `name` is short: sockets have their paths in its folder.
    pub(super) fn new(world: &mut World, name: &str) -> Result<Self> {
        let stack = world.stack()?;
        let (layout, releases, configs) = stack.unbooted_host(name)?;
        Ok(Self {
            layout,
            users: stack.users,
            releases,
            configs,
            environment: Vec::new(),
            launcher: None,
            copies: 0,
        })
    }

    /// Base and bundle, a stand-in for the enclave's image among its components.
    pub(super) fn describe(&self, versions: [u64; 2]) -> Result<[Value; 2]> {
        let mut base = self
            .releases
            .describe_base(&self.layout, &self.configs, versions[0])?;
        let vault = part(&mut base, "bartizan-vault").context("a vault")?;
        vault["start"]["environment"] = json!(self.environment);
        let mut bundle = Releases::describe_bundle(&self.layout, &self.configs, versions[1])?;
        for name in ["kernel", "image", "command-line"] {
            let file = self.layout.path(&format!("enclave-{name}"));
            fs::write(&file, format!("a stand-in for the enclave's {name}"))?;
            let component = json!({ "name": format!("enclave/{name}"), "phase": "enclave", "path": text(&file)? });
            let components = bundle["components"].as_array_mut().context("components")?;
            components.push(component);
        }
        Ok([base, bundle])
    }

    /// Has the vault keep its keys elsewhere.
    pub(super) fn seal_by(&self, sealing: &Value) -> Result<()> {
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&self.configs.vault)?)?;
        config["sealing"] = sealing.clone();
        Ok(fs::write(&self.configs.vault, config.to_string())?)
    }

    /// What the host's firmware is said to have measured, at its next boot.
    pub(super) fn write_firmware_log(&self, log: &[u8]) -> Result<()> {
        Ok(fs::write(self.layout.path(Launcher::FIRMWARE_LOG), log)?)
    }

    /// Who this host is, once it is enrolled.
    pub(super) fn card(&self) -> Result<CardId> {
        let VaultReply::Description { keys, .. } = self.ask(&VaultRequest::Describe)? else {
            bail!("the vault does not describe itself");
        };
        let in_use =
            |key: &&KeyDescription| key.purpose == Purpose::CardIdentity && !key.chain.is_empty();
        let identity = keys.iter().find(in_use).context("an identity")?;
        let certificate = identity.chain.first().context("its certificate")?;
        let subject = Subject::in_certificate(certificate, Usage::Card)?;
        subject.card().context("a card")
    }

    /// The fleet's operator, at this host.
    pub(super) fn at_host(&self, stack: &Stack) -> Operator {
        let card = self.layout.path("run/card/operations.sock");
        stack.operator.at(card)
    }

    /// Has its operator renew its certificate, until it is served.
    pub(super) fn served(&self, stack: &Stack) -> Result<()> {
        asked::served(&self.at_host(stack))
    }

    /// The same, which the verifier must refuse for this reason; what was said.
    pub(super) fn refused(&self, stack: &Stack, kind: &str) -> Result<String> {
        asked::refused(&self.at_host(stack), kind)
    }

    /// Has its operator rotate the key of its card identity, which stays who it is.
    pub(super) fn rotate_card(&self, stack: &Stack) -> Result<()> {
        let card = self.card()?;
        let operator = self.at_host(stack);
        let key = || -> Result<Value> {
            let hosts = operator.must(&["host", "list"])?;
            let mut hosts = hosts.as_array().context("hosts")?.iter();
            let found = hosts.find(|host| host["card"] == card.to_string());
            Ok(found.context("the host is not listed")?["card_key"].clone())
        };
        let before = key()?;
        operator.must(&["key", "rotate", "card"])?;
        ensure!(self.card()? == card, "another card");
        ensure!(key()? != before, "the same key");
        Ok(())
    }

    /// A certified report key: its chain.
    pub(super) fn report_key(&self) -> Result<Vec<Vec<u8>>> {
        match self.certify(self.card()?)? {
            VaultReply::Certificates(chain) => Ok(chain.into_iter().map(Vec::from).collect()),
            other => bail!("{other:?}"),
        }
    }

    pub(super) fn sign(&self, releases: &[Value; 2]) -> Result<()> {
        self.releases
            .sign_one(&self.releases.base(), &releases[0])?;
        self.releases
            .sign_one(&self.releases.bundle(), &releases[1])
    }

    /// Takes the bundle's file away from the host: its bytes.
    pub(super) fn take_bundle(&self) -> Result<Vec<u8>> {
        let bytes = fs::read(self.releases.bundle())?;
        fs::remove_file(self.releases.bundle())?;
        Ok(bytes)
    }

    /// What a stranger signs, in the same words: base and bundle.
    pub(super) fn strangers_releases(&self) -> Result<[Vec<u8>; 2]> {
        let layout = self.layout.within("stranger")?;
        let stranger = self.releases.another(&layout)?;
        let [base, bundle] = self.describe([1, 1])?;
        stranger.sign_one(&stranger.base(), &base)?;
        stranger.sign_one(&stranger.bundle(), &bundle)?;
        Ok([fs::read(stranger.base())?, fs::read(stranger.bundle())?])
    }

    /// A copy of a file, of this host's own.
    pub(super) fn copy(&mut self, path: &str) -> Result<String> {
        self.copies += 1;
        let copy = self.layout.path(&format!("copy-{}", self.copies));
        fs::copy(path, &copy)?;
        text(&copy)
    }

    /// Has a component be a copy, of this host's own: its path.
    pub(super) fn copied(&mut self, releases: &mut [Value; 2], component: &str) -> Result<String> {
        let described = releases
            .iter_mut()
            .find_map(|release| part(release, component));
        let described = described.with_context(|| format!("no component {component}"))?;
        let copy = self.copy(described["path"].as_str().context("a path")?)?;
        described["path"] = json!(copy);
        Ok(copy)
    }

    /// The same of a program's library, which the signed base names and its description does not.
    pub(super) fn copied_library(&mut self, library: &str) -> Result<String> {
        let key = self.releases.public_key().with_extension("");
        let key = EphemeralKey::from_pkcs8_der(&fs::read(key)?)?;
        let signed = fs::read(self.releases.base())?;
        let verified = VerifiedManifest::verify(&signed, &key.public_key())?;
        let mut manifest = verified.manifest().clone();
        let mut components = manifest.components.iter_mut();
        let component = components.find(|component| component.name == library);
        let path = &mut component
            .with_context(|| format!("no library {library}"))?
            .path;
        let copy = self.copy(path.as_deref().context("a path")?)?;
        *path = Some(copy.clone());
        fs::write(self.releases.base(), manifest.sign(&key)?)?;
        Ok(copy)
    }

    /// Has other bytes travel in the bundle than those that it was signed with.
    pub(super) fn exchange_in_bundle(&self, component: &str) -> Result<()> {
        let mut bundle = Bundle::from_bytes(&fs::read(self.releases.bundle())?)?;
        let file = bundle.files.iter_mut().find(|file| file.name == component);
        let file = file.with_context(|| format!("{component} does not travel"))?;
        file.contents = b"something else".to_vec().into();
        Ok(fs::write(self.releases.bundle(), bundle.to_bytes())?)
    }

    pub(super) fn boot(&mut self) -> Result<Outcome> {
        let key = self.releases.public_key();
        let (launcher, booted) = Launcher::start(&self.layout, &self.releases.base(), &key)?;
        self.launcher = Some(launcher.clone());
        Ok(Outcome(booted, launcher))
    }

    pub(super) fn launcher(&self) -> Result<&Launcher> {
        self.launcher.as_ref().context("the host was not booted")
    }

    pub(super) const fn operator(&self) -> &Operator {
        self.releases.operator()
    }

    /// Ends it, as a reboot would.
    pub(super) fn end(&mut self) -> Result<()> {
        let launcher = self.launcher.take();
        launcher.context("the host was not booted")?.end()?;
        // A socket that is left is no vault.
        fs::remove_file(self.layout.path("run/vault/vault.sock")).ok();
        Ok(())
    }

    pub(super) fn certify_report_key(&self) -> Result<VaultReply> {
        self.certify(CardId([1; 32]))
    }

    fn certify(&self, card: CardId) -> Result<VaultReply> {
        self.ask(&VaultRequest::CertifyReportKey {
            csr: EphemeralKey::generate()?.csr()?,
            guest: GuestIdentity {
                card,
                vm: [1; 16],
                boot: 1,
            },
            launch_measurement: Digest(vec![1; 48]),
            lifetime_s: 60,
        })
    }

    pub(super) fn vault_describes(&self) -> Result<BootDescription> {
        describe(&self.users, &self.layout)
    }

    /// Of the host's vault, as its card.
    pub(super) fn ask(&self, request: &VaultRequest) -> Result<VaultReply> {
        ask_vault(&self.users, &self.layout, request)
    }
}

/// What a host's vault says of its boot.
pub(super) fn describe(users: &Users, layout: &Layout) -> Result<BootDescription> {
    match ask_vault(users, layout, &VaultRequest::DescribeBoot)? {
        VaultReply::Boot(description) => Ok(description),
        other => bail!("{other:?}"),
    }
}

/// As the card, which alone may.
fn ask_vault(users: &Users, layout: &Layout, request: &VaultRequest) -> Result<VaultReply> {
    let mut link = users.card.connect(&layout.path("run/vault/vault.sock"))?;
    link.set_read_timeout(Some(PATIENCE))?;
    write_frame(&mut link, request, VaultRequest::MAX_FRAME)?;
    Ok(read_frame(&mut link, VaultRequest::MAX_FRAME)?)
}

pub(super) const fn is_shut(refusal: &VaultRefusal) -> bool {
    matches!(refusal, VaultRefusal::Shut { .. })
}

/// A component of a described release.
pub(super) fn part<'r>(release: &'r mut Value, name: &str) -> Option<&'r mut Value> {
    let components = release["components"].as_array_mut()?;
    components
        .iter_mut()
        .find(|component| component["name"] == name)
}

/// Has one bit of a file be another.
pub(super) fn alter(file: &str) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(fs::write(file, bytes)?)
}

/// How many digests a text names.
pub(super) fn digests(text: &str) -> usize {
    let word = |word: &&str| word.len() == 96 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(word)
        .count()
}
