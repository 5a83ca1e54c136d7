//! One whole stack: a verifier with its vault, and a host of its fleet with its guests.

mod author;
mod configs;
mod guest;
mod host;
mod keeping;
mod outside;
mod release;
mod rogue;

pub use author::Author;
pub use guest::{Guest, GuestSpec, Init};
pub use host::Host;
pub use keeping::{Keeping, Kept};
pub use outside::{FAR, OUTSIDE, OUTSIDE_6, Outside};
pub use release::{Configs, Releases};
pub use rogue::Rogue;

use std::net::TcpListener;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::accounts::{Account, account, group, of_guests};
use crate::daemon::{Daemon, Recipe};
use crate::layout::{Layout, text};
use crate::maker::Maker;
use crate::operator::Operator;
use host::Network;

/// The fleet's first operator.
const FIRST_OPERATOR: &str = "alice";
/// The operators whom the configuration of the verifier's vault names, and their roles there: the second one, a runner, an observer.
const NAMED: [(&str, &str); 3] = [
    (SECOND_OPERATOR, "administrator"),
    ("rae", "runner"),
    ("oscar", "observer"),
];
/// The second operator.
pub const SECOND_OPERATOR: &str = "bob";

/// The users of the processes.
#[derive(Clone, Copy, Debug)]
pub struct Users {
    /// A host's vault.
    pub vault: Account,
    /// The verifier's vault.
    pub verifier_vault: Account,
    /// The card.
    pub card: Account,
    /// The coordinator.
    pub coordinator: Account,
    /// The devices.
    pub devices: Account,
    /// The hypervisor.
    pub hypervisor: Account,
    /// The supervisors.
    pub supervisor: Account,
    /// The keeper.
    pub keeper: Account,
    /// The enclave's QEMU.
    pub enclave: Account,
    /// The verifier.
    pub verifier: Account,
    measurers: Guests,
    qemus: Guests,
}

/// The users of guests' processes of one kind, and their group.
#[derive(Clone, Copy, Debug)]
struct Guests {
    first: u32,
    count: u32,
    gid: u32,
}

/// A running stack. Dropped, every daemon and guest of it ends.
#[derive(Debug)]
pub struct Stack {
    /// The host.
    pub host: Host,
    /// What is outside of it, where its guests have an uplink.
    pub outside: Option<Outside>,
    /// The verifier.
    pub verifier: Daemon,
    /// The verifier's vault.
    pub verifier_vault: Daemon,
    /// The operator, at the host.
    pub operator: Operator,
    /// A second operator, at the same host.
    pub second_operator: Operator,
    /// An operator who may run guests, at the same host.
    pub runner: Operator,
    /// An operator who may look, at the same host.
    pub observer: Operator,
    /// The stack's files.
    pub layout: Layout,
    /// Whose policies the verifier and the enclave believe.
    pub author: Author,
    /// The maker of TPMs whom the verifier trusts.
    pub maker: Maker,
    /// The processes' users.
    pub users: Users,
    /// The verifier's port.
    port: u16,
    /// Where the verifier's configuration is.
    verifier_config: String,
}

impl Users {
    /// Those that `cargo xtask setup` made.
    pub fn find() -> Result<Self> {
        let [qemus, measurers] = of_guests()?.map(|users| (users.start, users.len()));
        let guests = |(first, count), group: &str| {
            let (count, gid) = (u32::try_from(count)?, self::group(group)?);
            anyhow::Ok(Guests { first, count, gid })
        };
        Ok(Self {
            vault: account("bartizan-vault")?,
            verifier_vault: account("bartizan-verifier-vault")?,
            card: account("bartizan-card")?,
            coordinator: account("bartizan-coordinator")?,
            devices: account("bartizan-devices")?,
            hypervisor: account("bartizan-hypervisor")?,
            supervisor: account("bartizan-supervisor")?,
            keeper: account("bartizan-keeper")?,
            enclave: account("bartizan-enclave")?,
            measurers: guests(measurers, "bartizan-measurer")?,
            qemus: Guests {
                gid: qemu_group()?,
                ..guests(qemus, "bartizan-qemu")?
            },
            verifier: account("bartizan-verifier")?,
        })
    }

    /// Of the users of guests the first half or the second: two hosts on one machine must not share any.
    const fn half(mut self, second: bool) -> Self {
        self.measurers = self.measurers.half(second);
        self.qemus = self.qemus.half(second);
        self
    }
}

impl Guests {
    const fn half(mut self, second: bool) -> Self {
        self.count /= 2;
        if second {
            self.first += self.count;
        }
        self
    }
}

impl Stack {
    /// Starts everything: fleet CA made, host with an enclave enrolled, every process serving.
    pub fn start() -> Result<Self> {
        Self::keeping(|_, _, _| {
            Ok(Keeping {
                enclave: true,
                ..Keeping::default()
            })
        })
    }

    /// The same, with the vaults' keys in devices, and without an enclave unless it is asked for.
    pub fn keeping(
        devices: impl FnOnce(&Layout, &Users, &Maker) -> Result<Keeping>,
    ) -> Result<Self> {
        let layout = Layout::new()?;
        let users = Users::find()?;
        let maker = Maker::new(&layout, "maker")?;
        let keeping = devices(&layout, &users, &maker)?;
        let port = free_port()?;
        let operator = Operator::new(
            &layout,
            format!("127.0.0.1:{port}"),
            layout.path("run/card/operations.sock"),
        );

        let named =
            NAMED.map(|(name, _)| operator.another(layout.path(&format!("operator-{name}"))));
        let kept = keeping.verifier.as_ref();
        let config = configs::verifier_vault(&layout, &users, &allowed(&named)?, kept)?;
        let verifier_vault = Daemon::start(Recipe {
            program: layout.program("bartizan-vault"),
            arguments: vec!["--config".into(), config],
            account: users.verifier_vault,
            capabilities: &[],
            environment: kept
                .and_then(|kept| kept.environment.clone())
                .into_iter()
                .collect(),
            log: layout.path("verifier-vault.log"),
        })?;

        let releases = Releases::new(&layout, &operator)?;
        let author = Author::new(&layout, &operator)?;
        let config = configs::verifier(
            &layout,
            &users,
            (&releases.key_sha256, &author),
            &maker,
            port,
        )?;
        operator.must(&["operator", "request"])?;
        initialise(&layout, &users, &operator, FIRST_OPERATOR, &config)?;
        for (operator, (name, _)) in named.iter().zip(NAMED) {
            initialise(&layout, &users, operator, name, &config)?;
        }
        let [second_operator, runner, observer] = named;
        let verifier = Daemon::start(Recipe {
            program: layout.program("bartizan-verifier"),
            arguments: vec!["run".into(), "--config".into(), config.clone()],
            account: users.verifier,
            capabilities: &[],
            environment: Vec::new(),
            log: layout.path("verifier.log"),
        })?;

        let outside = keeping.uplink.then(|| Outside::new(users.devices));
        let outside = outside.transpose()?;
        Ok(Self {
            host: Host::start(
                &layout,
                users.half(false),
                operator.clone(),
                releases,
                port,
                ("host-1", keeping.host.as_ref()),
                Network {
                    author: keeping.enclave.then_some(&author),
                    outside: outside.as_ref(),
                },
            )?,
            outside,
            author,
            verifier,
            verifier_vault,
            operator,
            second_operator,
            runner,
            observer,
            layout,
            maker,
            users,
            port,
            verifier_config: config,
        })
    }

    /// Has the fleet's present CA certify the operator's key.
    pub fn certify_anew(&self) -> Result<()> {
        let config = &self.verifier_config;
        initialise(
            &self.layout,
            &self.users,
            &self.operator,
            FIRST_OPERATOR,
            config,
        )
    }

    /// Has these rules decide on the flows of web servers and their clients from now on; returns when they are in force.
    pub fn apply(&self, serial: u64, rules: &Value) -> Result<()> {
        self.apply_to(serial, &json!({ "roles": ["web", "client"] }), rules)
    }

    /// The same, of guests that are selected so.
    pub fn apply_to(&self, serial: u64, select: &Value, rules: &Value) -> Result<()> {
        let author = &self.author;
        author.apply(&self.operator, &self.layout, serial, select, rules)
    }

    /// Starts a second host of the fleet, with vault, card, devices and hypervisor of its own.
    pub fn another_host(&self, name: &str) -> Result<Host> {
        let layout = self.layout.within(name)?;
        let operator = self.operator.at(layout.path("run/card/operations.sock"));
        let releases = Releases::with_key_of(&layout, &self.host.releases)?;
        let users = self.users.half(true);
        Host::start(
            &layout,
            users,
            operator,
            releases,
            self.port,
            (name, None),
            Network::default(),
        )
    }

    /// A further host, whose enclave's machine boots an image that serves nothing and does this instead, in a release that was signed and
    /// registered as any.
    pub fn host_with_rogue_enclave(&self, name: &str, rogue: Rogue) -> Result<Host> {
        let mut layout = self.layout.within(name)?;
        layout.enclave.clone_from(&layout.rogue_enclave);
        let (releases, configs) = self.prepared(&layout, Some(&self.author))?;
        let enclave = configs.enclave.as_ref().context("an enclave")?;
        rogue.configure(enclave)?;
        let operator = self.operator.at(layout.path("run/card/operations.sock"));
        let users = self.users.half(true);
        Host::begin(&layout, users, operator, releases, &configs, (name, None))
    }

    /// A further host, not booted and not enrolled: its files, its releases, its configurations.
    pub fn unbooted_host(&self, name: &str) -> Result<(Layout, Releases, Configs)> {
        let layout = self.layout.within(name)?;
        let (releases, configs) = self.prepared(&layout, None)?;
        Ok((layout, releases, configs))
    }

    /// What a further host boots from, with an enclave where policies have an author.
    fn prepared(&self, layout: &Layout, author: Option<&Author>) -> Result<(Releases, Configs)> {
        let operator = self.operator.at(layout.path("run/card/operations.sock"));
        let users = self.users.half(true);
        let mut releases = Releases::with_key_of(layout, &self.host.releases)?;
        let configs = host::prepare(
            layout,
            &users,
            &operator,
            &mut releases,
            self.port,
            None,
            Network {
                author,
                outside: None,
            },
        )?;
        Ok((releases, configs))
    }

    /// Enrols a host that was booted, with a join code that was made with `wish`: what its vault is, for example.
    pub fn enroll(
        &self,
        layout: &Layout,
        card_config: &str,
        name: &str,
        wish: &[&str],
    ) -> Result<()> {
        host::enroll(layout, &self.users, &self.operator, card_config, name, wish)
    }

    /// Registers what `bartizan profile` computed from a Debian package and those that it needs.
    pub fn register_package(
        &self,
        package: &str,
        path: &str,
        application: &str,
    ) -> Result<PathBuf> {
        let debs = self.layout.image.join("debs");
        let deb = std::fs::read_dir(&debs)?
            .flatten()
            .map(|entry| entry.path())
            .find(|file| {
                let name = file
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                name.split('_').next() == Some(package)
            })
            .with_context(|| format!("the guest image has no package {package}"))?;
        let profile = self.layout.path(&format!("{application}.json"));
        self.operator.must(&[
            "profile",
            "from-deb",
            &text(&deb)?,
            path,
            "--libraries",
            &text(&debs)?,
            "--application",
            application,
            "--output",
            &text(&profile)?,
        ])?;
        self.operator.must(&["profile", "add", &text(&profile)?])?;
        Ok(profile)
    }

    /// Registers the profile of a program of the guest's program disk.
    pub fn register_program(&self, program: &str, application: &str) -> Result<PathBuf> {
        let file = self.layout.guest_programs.join(program);
        let profile = self.layout.path(&format!("{application}.json"));
        self.operator.must(&[
            "profile",
            "from-elf",
            &text(&file)?,
            "--path",
            &format!("/opt/bartizan/bin/{program}"),
            "--application",
            application,
            "--output",
            &text(&profile)?,
        ])?;
        self.operator.must(&["profile", "add", &text(&profile)?])?;
        Ok(profile)
    }
}

/// Has the named operators make keys; answers them as the configuration of the verifier's vault has them.
fn allowed(operators: &[Operator; NAMED.len()]) -> Result<Vec<Value>> {
    let operators = operators.iter().zip(NAMED);
    let named = operators.map(|(operator, (name, role))| {
        let requested = operator.must(&["operator", "request"])?;
        Ok(json!({ "name": name, "key_sha256": requested["key_sha256"], "role": role }))
    });
    named.collect()
}

/// `bartizan service init`, as the verifier's user where it touches the vault.
fn initialise(
    layout: &Layout,
    users: &Users,
    operator: &Operator,
    name: &str,
    config: &str,
) -> Result<()> {
    let csr = operator.folder().join("operator.csr");
    let exchange = layout.run("exchange", users.verifier)?;
    let certificate = exchange.join("operator.pem");
    let fleet_ca = exchange.join("fleet-ca.pem");
    configs::readable(&csr)?;
    configs::enterable(operator.folder())?;
    let recipe = Recipe {
        program: layout.program("bartizan-verifier"),
        arguments: vec![
            "init".into(),
            "--config".into(),
            config.into(),
            "--operator-name".into(),
            name.into(),
            "--operator-csr".into(),
            text(&csr)?,
            "--operator-certificate".into(),
            text(&certificate)?,
            "--fleet-ca".into(),
            text(&fleet_ca)?,
        ],
        account: users.verifier,
        capabilities: &[],
        environment: Vec::new(),
        log: layout.path("verifier-init.log"),
    };
    Daemon::run_once(&recipe, "")?;
    std::fs::copy(certificate, operator.folder().join("operator.pem"))?;
    std::fs::copy(fleet_ca, operator.fleet_ca())?;
    Ok(())
}

/// The group that may open KVM's device where there is one, else QEMU's own.
fn qemu_group() -> Result<u32> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata("/dev/kvm") {
        Ok(device) if device.gid() != 0 => Ok(device.gid()),
        _ => group("bartizan-qemu"),
    }
}

/// A port of the loopback interface that nobody has now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
