//! Where the devices are that hold keys.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;

/// PCRs that software can reset (TCG PC Client Platform TPM Profile 1.05 section 4.6: debug and application).
const RESETTABLE: [u8; 2] = [16, 23];
/// From this PCR on it takes more than being the machine's software to extend one, or less to reset it.
const LOCALITIES: u8 = 16;
/// PCRs that a TPM has.
const PCRS: u8 = 24;

/// A TPM 2.0, and which of its PCRs are registers.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmConfig {
    /// The way to it: `device:/dev/tpmrm0`, or `swtpm:host=ADDRESS,port=NUMBER`.
    pub tcti: Tcti,
    /// The PCR that is [`crate::registers::Register::Measurement`].
    #[serde(default = "default_measurement")]
    pub measurement_pcr: u8,
    /// The PCR that is [`crate::registers::Register::Authority`].
    #[serde(default = "default_authority")]
    pub authority_pcr: u8,
    /// PCRs of the host's own boot, to which keys are bound too, and which are quoted.
    #[serde(default)]
    pub host_pcrs: Vec<u8>,
    /// PCRs of the host's own boot that are quoted, and to which no key is bound: another firmware keeps the keys.
    #[serde(default)]
    pub quoted_pcrs: Vec<u8>,
}

/// The way to a TPM.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum Tcti {
    /// A character device; `/dev/tpmrm0` has the kernel's resource manager.
    Device(PathBuf),
    /// swtpm, its commands at this port and its control channel at the next one. The address is a number: a confined
    /// vault asks no name server.
    Swtpm {
        /// Where it runs.
        host: IpAddr,
        /// Where it takes commands.
        port: u16,
    },
}

/// A PKCS #11 token.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The module, a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The token's serial number, where several have the label.
    #[serde(default)]
    pub serial: Option<String>,
    /// Where its PIN comes from.
    pub pin: PinSource,
    /// What else the module reads while the vault serves: its configuration, a device.
    #[serde(default)]
    pub reads: Vec<PathBuf>,
    /// Where the module makes, replaces and removes files while the vault serves: SoftHSM's tokens.
    #[serde(default)]
    pub writes: Vec<PathBuf>,
    /// How the module reaches another process that has the token, if one has it.
    #[serde(default)]
    pub connects: Option<Connects>,
}

/// How a PKCS #11 module reaches the process that has the token: p11-kit's server, or what the HSM's maker runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connects {
    /// By a Unix socket.
    Unix,
}

/// Where a PIN comes from.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinSource {
    /// Asked for at the terminal, at the start.
    Prompt,
    /// A file of mode 0600.
    File(PathBuf),
}

/// No way to a TPM that the vault knows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not `device:PATH` or `swtpm:host=ADDRESS,port=NUMBER`")]
pub struct UnknownTcti(String);

impl TpmConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let (measurement, authority) = (self.measurement_pcr, self.authority_pcr);
        for pcr in [measurement, authority] {
            if pcr >= LOCALITIES {
                return Err(ConfigError::Register { pcr });
            }
        }
        for &pcr in self.host_pcrs.iter().chain(&self.quoted_pcrs) {
            if pcr >= PCRS || RESETTABLE.contains(&pcr) {
                return Err(ConfigError::Pcr { pcr });
            }
        }
        let hosts = || self.host_pcrs.iter().chain(&self.quoted_pcrs);
        let shared = measurement == authority || hosts().any(|pcr| *pcr == measurement);
        let doubled = self
            .host_pcrs
            .iter()
            .any(|pcr| self.quoted_pcrs.contains(pcr));
        if shared || doubled || hosts().any(|pcr| *pcr == authority) {
            return Err(ConfigError::SharedPcr);
        }
        Ok(())
    }
}

impl TryFrom<String> for Tcti {
    type Error = UnknownTcti;

    fn try_from(text: String) -> Result<Self, UnknownTcti> {
        parse(&text).ok_or(UnknownTcti(text))
    }
}

fn parse(text: &str) -> Option<Tcti> {
    if let Some(path) = text.strip_prefix("device:") {
        let path = PathBuf::from(path);
        return path.is_absolute().then_some(Tcti::Device(path));
    }
    let (host, port) = text.strip_prefix("swtpm:host=")?.split_once(",port=")?;
    let port: u16 = port.parse().ok()?;
    // The control channel has the next one.
    port.checked_add(1)?;
    let host = host.parse().ok()?;
    Some(Tcti::Swtpm { host, port })
}

const fn default_measurement() -> u8 {
    12
}

const fn default_authority() -> u8 {
    15
}
