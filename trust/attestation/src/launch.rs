//! The launch record: what a guest is started from, as an operator signed it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cbor;
use crate::digest::hash;
use crate::measurement::{Digest, HashAlgorithm};

mod error;
mod fields;
mod network;
mod parse;
mod signed;

pub use error::LaunchRecordError;
pub use network::{Address, Mac, Network, NetworkError};
pub use signed::{VerifiedRecord, sign_record, verify_record};

/// A launch record: YAML, signed as the verbatim payload of a COSE_Sign1 by an operator's key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchRecord {
    /// Always 1.
    #[serde(deserialize_with = "fields::version")]
    pub version: u32,
    /// Name for people: 1 to 63 of `a-z`, `0-9`, `-`.
    #[serde(deserialize_with = "fields::name")]
    pub name: String,
    /// The VM's UUID: with card and boot counter its identity.
    #[serde(deserialize_with = "fields::uuid")]
    pub uuid: Uuid,
    /// What it is for; policies select by it: 1 to 63 of `a-z`, `0-9`, `-`.
    #[serde(deserialize_with = "fields::name")]
    pub role: String,
    /// Further words that policies select by.
    #[serde(default, deserialize_with = "fields::labels")]
    pub labels: BTreeMap<String, String>,
    /// Virtual CPUs, 1 to 64.
    #[serde(deserialize_with = "fields::cpus")]
    pub cpus: u32,
    /// RAM in MiB, 64 to 1 048 576.
    #[serde(deserialize_with = "fields::memory_mib")]
    pub memory_mib: u64,
    /// QEMU's machine type.
    #[serde(default)]
    pub machine: Machine,
    /// QEMU's CPU model (`-cpu`), for example `max` or `max,la57=off`.
    #[serde(default, deserialize_with = "fields::cpu_model")]
    pub cpu_model: Option<String>,
    /// What boots.
    pub boot: Boot,
    /// Disks, in order (virtio-blk).
    #[serde(default, deserialize_with = "fields::disks")]
    pub disks: Vec<Disk>,
    /// SHA-256 of the fleet CA certificate (DER), lower-case hex: the anchor that the guest's SDK pins.
    /// Appended to the kernel command line as `bartizan.anchor=…`.
    #[serde(deserialize_with = "fields::sha256")]
    pub fleet_ca_sha256: String,
    /// Names of the host's services, beside the attestation API, that it may reach over vsock; the
    /// hypervisor's configuration says what is behind a name.
    #[serde(default, deserialize_with = "fields::services")]
    pub services: Vec<String>,
    /// Its network device; left out, it has none.
    #[serde(default)]
    pub network: Option<Network>,
    /// How much attestation this guest may ask for.
    #[serde(default, deserialize_with = "fields::budget")]
    pub budget: Budget,
    /// What happens when the guest ends.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Seconds until a boot that shows no sign of life on the guest API or the console is retried.
    #[serde(
        default = "default_boot_timeout",
        deserialize_with = "fields::boot_timeout"
    )]
    pub boot_timeout_s: u64,
}

fn default_boot_timeout() -> u64 {
    120
}

/// QEMU machine types that are understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// `q35`: PCI Express.
    #[default]
    Q35,
    /// `microvm`: virtio-mmio only.
    Microvm,
}

/// What boots: a kernel directly, or firmware that finds a loader on the first disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Boot {
    /// Direct kernel boot.
    Kernel {
        /// The bzImage.
        image: MeasuredFile,
        /// The initial RAM disk.
        #[serde(default)]
        initrd: Option<MeasuredFile>,
        /// The kernel command line.
        #[serde(deserialize_with = "fields::command_line")]
        command_line: String,
    },
    /// Boot by firmware.
    Firmware {
        /// The firmware image.
        image: MeasuredFile,
        /// The bzImage that the disk will boot, for introspection.
        #[serde(default)]
        introspected_kernel: Option<MeasuredFile>,
    },
}

/// A file and the digest that the operator signed for it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredFile {
    /// Absolute path on the host.
    #[serde(deserialize_with = "fields::path")]
    pub path: PathBuf,
    /// SHA-384 of its contents, lower-case hex.
    #[serde(deserialize_with = "fields::sha384")]
    pub sha384: String,
}

/// One disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Absolute path of a raw image on the host.
    #[serde(deserialize_with = "fields::path")]
    pub path: PathBuf,
    /// Whether the guest may only read it; then `sha384` is required and checked at launch.
    #[serde(default)]
    pub readonly: bool,
    /// SHA-384 of its contents, lower-case hex.
    #[serde(default, deserialize_with = "fields::sha384_or_none")]
    pub sha384: Option<String>,
}

/// A guest's attestation budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Most bytes in one request.
    pub bytes_per_request: u64,
    /// Most requests under way at once.
    pub concurrent: u32,
    /// Most requests in any minute.
    pub requests_per_minute: u32,
    /// Most milliseconds of pause in any minute.
    pub pause_ms_per_minute: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes_per_request: 512 << 20,
            concurrent: 8,
            requests_per_minute: 600,
            pause_ms_per_minute: 6_000,
        }
    }
}

/// What happens when a guest's QEMU ends without having been asked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It stays down.
    #[default]
    Never,
    /// It is started again after a failure, with growing delays.
    OnFailure,
    /// It is started again whatever the reason.
    Always,
}

/// What is hashed (SHA-384 over its deterministic CBOR) into the launch measurement.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct LaunchMeasurementInput {
    /// SHA-384 of the launch record's YAML bytes.
    #[n(0)]
    pub record: Digest,
    /// SHA-384 of kernel or firmware as handed to QEMU.
    #[n(1)]
    pub image: Digest,
    /// SHA-384 of the initrd as handed to QEMU.
    #[n(2)]
    pub initrd: Option<Digest>,
    /// The kernel command line as handed to QEMU, without `tsc_early_khz=`, which tells a microvm the host's clock.
    #[n(3)]
    pub command_line: Option<String>,
    /// SHA-384 of each read-only disk at launch; `None` for a writable one.
    #[n(4)]
    pub disks: Vec<Option<Digest>>,
}

impl LaunchMeasurementInput {
    /// The launch measurement: SHA-384.
    #[must_use]
    pub fn measure(&self) -> Digest {
        hash(HashAlgorithm::Sha384, &cbor::encode(self))
    }
}

#[cfg(test)]
mod tests;
