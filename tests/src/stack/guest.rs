//! A guest of a host.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Host;
use crate::agent::{Agent, Door};
use crate::layout::text;

/// For how long a guest may say nothing at its console before it lives: all of a boot, where the kernel is quiet and the machine busy.
const SILENCE_S: u64 = 170;
/// A real boot under TCG on two busy cores, with a margin.
const BOOT_DEADLINE: Duration = Duration::from_secs(180);

/// The segment of every guest that has a network.
pub(super) const SEGMENT: &str = "front";

/// How long the hand in a guest may take to connect again after devices were killed.
const RECONNECT: Duration = Duration::from_secs(90);
/// Connections that may turn out dead: each kill of devices can leave some behind.
const DEAD: usize = 16;

/// What every guest's kernel is told.
const KERNEL_PARAMETERS: &str = "root=/dev/vda rw console=ttyS0 quiet random.trust_cpu=on lockdown=integrity module.sig_enforce=1";

/// What kind of guest.
#[derive(Clone, Debug)]
pub struct GuestSpec {
    /// Its name.
    pub name: String,
    /// Its UUID; a fresh one where there is none.
    pub uuid: Option<Uuid>,
    /// RAM in MiB.
    pub memory_mib: u64,
    /// Virtual CPUs.
    pub cpus: u32,
    /// QEMU's CPU model.
    pub cpu_model: Option<String>,
    /// The first process.
    pub init: Init,
    /// Kernel parameters beyond the usual ones.
    pub kernel_parameters: &'static str,
    /// Restart policy.
    pub restart: &'static str,
    /// Attestation budget, where not the default.
    pub budget: Option<Value>,
    /// Services of the host that it may reach; the tests' hand needs `test-agent`.
    pub services: &'static [&'static str],
    /// Its role.
    pub role: &'static str,
    /// Its addresses in the network, IPv4 and IPv6, with the lengths of their prefixes; none where it has no network.
    pub addresses: Option<(String, String)>,
}

/// What starts a guest's programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Init {
    /// Debian's.
    Systemd,
    /// The image's own script: enrolment, nginx and the tests' hand, for a third of a boot's work.
    Script,
}

/// A running guest with the tests' hand in it.
pub struct Guest {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// The hand.
    pub agent: Agent,
    /// Where the hand connects to again after a restart.
    pub door: Door,
}

impl Guest {
    /// Waits for the hand to connect again after devices were killed.
    pub fn reconnect(&mut self) -> Result<()> {
        let mut last = None;
        for _ in 0..DEAD {
            self.agent = self.door.wait(RECONNECT)?;
            match self.agent.must("true") {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow!("no connection")))
    }
}

impl GuestSpec {
    /// A guest with two CPUs and 768 MiB.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            uuid: None,
            memory_mib: 768,
            cpus: 2,
            cpu_model: None,
            init: Init::Systemd,
            kernel_parameters: "",
            restart: "never",
            budget: None,
            services: &["test-agent"],
            role: "demo",
            addresses: None,
        }
    }

    /// A guest for what needs no more than nginx and the tests' hand: less RAM, and no systemd to boot.
    pub fn small(name: &str) -> Self {
        Self {
            memory_mib: 512,
            init: Init::Script,
            ..Self::new(name)
        }
    }

    /// The same guest with a role, and these addresses in the networks of 24 and 64 bits that all have.
    #[must_use]
    pub fn in_network(self, role: &'static str, (ipv4, ipv6): (&str, &str)) -> Self {
        Self {
            role,
            addresses: Some((format!("{ipv4}/24"), format!("{ipv6}/64"))),
            ..self
        }
    }

    fn command_line(&self) -> String {
        let init = match self.init {
            Init::Systemd => "",
            Init::Script => " init=/usr/local/sbin/bartizan-init",
        };
        let more = self.kernel_parameters;
        let addresses = self.addresses.as_ref();
        let addresses = addresses.map(|(v4, v6)| format!(" bartizan.ipv4={v4} bartizan.ipv6={v6}"));
        let addresses = addresses.unwrap_or_default();
        format!("{KERNEL_PARAMETERS}{init}{addresses} {more}")
            .trim_end()
            .into()
    }
}

impl Host {
    /// Boots a guest from a record signed by the operator, and waits for the hand in it.
    pub fn boot(&self, spec: &GuestSpec) -> Result<Guest> {
        let uuid = spec.uuid.unwrap_or_else(Uuid::new_v4);
        let record = self.record(spec, uuid)?;
        let door = Door::open(&self.layout.path(&format!("run/agents/{uuid}.sock")))?;
        self.operator.must(&["vm", "run", &record])?;
        let agent = match door.wait(BOOT_DEADLINE) {
            Ok(agent) => agent,
            Err(error) => {
                let shown = self.operator.run(&["vm", "show", &spec.name])?;
                let console = self.operator.run(&["vm", "console", &spec.name])?;
                bail!(
                    "{error:#}: {}; the end of its console:\n{}",
                    shown.json,
                    console.json["console"].as_str().unwrap_or_default()
                );
            }
        };
        Ok(Guest {
            name: spec.name.clone(),
            uuid,
            agent,
            door,
        })
    }

    /// Writes and signs a guest's launch record; returns the signed record's path.
    pub fn record(&self, spec: &GuestSpec, uuid: Uuid) -> Result<String> {
        let image = &self.layout.image;
        let images = self.layout.images()?;
        let disk = images.join(format!("{}.img", spec.name));
        let copied = Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(image.join("disk.img"))
            .arg(&disk)
            .status()?;
        if !copied.success() {
            bail!("the guest's disk could not be copied");
        }
        chown(
            &disk,
            Some(self.users.supervisor.uid),
            Some(self.users.supervisor.gid),
        )?;
        let file = |name: &str| -> Result<Value> {
            let staged = images.join(name);
            if !staged.exists() {
                fs::copy(image.join(name), &staged)
                    .with_context(|| format!("the image has no {name}"))?;
            }
            Ok(json!({ "path": text(&staged)?, "sha384": self.operator.digest(&staged)? }))
        };
        let programs = images.join("programs.img");
        if !programs.exists() {
            fs::copy(&self.layout.program_disk, &programs)?;
        }
        let anchor = self.operator.must(&["operator", "anchor"])?;
        let mut record = json!({
            "version": 1,
            "name": spec.name,
            "uuid": uuid.to_string(),
            "role": spec.role,
            "labels": { "purpose": "demo" },
            "cpus": spec.cpus,
            "memory_mib": spec.memory_mib,
            "boot": { "kernel": {
                "image": file("vmlinuz")?,
                "initrd": file("initrd.img")?,
                "command_line": spec.command_line(),
            } },
            "disks": [
                { "path": text(&disk)? },
                { "path": text(&programs)?, "readonly": true, "sha384": self.operator.digest(&programs)? },
            ],
            "fleet_ca_sha256": anchor["fleet_ca_sha256"],
            "services": spec.services,
            "restart": spec.restart,
            "boot_timeout_s": SILENCE_S,
        });
        if let Some(model) = &spec.cpu_model {
            record["cpu_model"] = json!(model);
        }
        if let Some((ipv4, ipv6)) = &spec.addresses {
            record["network"] = json!({ "segment": SEGMENT, "ipv4": ipv4, "ipv6": ipv6 });
        }
        if let Some(budget) = &spec.budget {
            record["budget"] = budget.clone();
        }
        let yaml = self.layout.path(&format!("{}.yaml", spec.name));
        fs::write(&yaml, record.to_string())?;
        let signed = text(&self.layout.path(&format!("{}.launch", spec.name)))?;
        self.operator
            .must(&["vm", "sign", &text(&yaml)?, "--output", &signed])?;
        Ok(signed)
    }
}

impl Guest {
    /// `bartizan-guest attest … --json` in the guest: exit code and what it printed.
    pub fn attest(&mut self, arguments: &str) -> Result<(Option<i32>, Value)> {
        let script = format!("/opt/bartizan/bin/bartizan-guest --json attest {arguments}");
        let outcome = self.agent.run(&script)?;
        let json = serde_json::from_str(&outcome.stdout)
            .with_context(|| format!("`{script}` printed no JSON: {outcome:?}"))?;
        Ok((outcome.code, json))
    }
}
