//! What is demanded of hosts' boots.

use serde::Deserialize;

use super::firmware::FirmwareDemand;

/// What hosts must have been booted from. There is no default: whoever writes the configuration decides.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum MeasuredBoot {
    /// Releases that an operator has registered and that one of these keys has signed.
    Demanded {
        /// SHA-256 over the SubjectPublicKeyInfo of each release key, 64 hexadecimal digits.
        release_keys: Vec<ReleaseKey>,
        /// Which PCRs of a host's TPM are its registers; 12 and 15 if absent.
        #[serde(default)]
        register_pcrs: RegisterPcrs,
        /// And what the hosts' own firmware must have measured before.
        firmware: FirmwareDemand,
    },
    /// Anything. Results say so: they name no release.
    NotDemanded,
}

/// Which PCRs of hosts' TPMs are the registers of their boots: what their vaults' configuration says, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct RegisterPcrs {
    /// Of everything that was measured.
    pub measurement: u8,
    /// Of who signed it.
    pub authority: u8,
}

/// PCRs that cannot be registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("registers are two PCRs below 16, which last until a machine is started anew")]
pub struct RegisterPcrsError;

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    measurement: u8,
    authority: u8,
}

impl TryFrom<Written> for RegisterPcrs {
    type Error = RegisterPcrsError;

    fn try_from(written: Written) -> Result<Self, RegisterPcrsError> {
        let Written {
            measurement,
            authority,
        } = written;
        if measurement == authority || measurement.max(authority) > 15 {
            return Err(RegisterPcrsError);
        }
        Ok(Self {
            measurement,
            authority,
        })
    }
}

impl Default for RegisterPcrs {
    fn default() -> Self {
        Self {
            measurement: 12,
            authority: 15,
        }
    }
}

/// The SHA-256 over a release key's SubjectPublicKeyInfo.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct ReleaseKey(pub [u8; 32]);

/// Text that is no such digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a release key is named by 64 hexadecimal digits, as `bartizan release key` prints them")]
pub struct ReleaseKeyError;

impl TryFrom<String> for ReleaseKey {
    type Error = ReleaseKeyError;

    fn try_from(text: String) -> Result<Self, ReleaseKeyError> {
        let mut key = [0; 32];
        hex::decode_to_slice(&text, &mut key).map_err(|_| ReleaseKeyError)?;
        Ok(Self(key))
    }
}

impl MeasuredBoot {
    /// Whether a host without a boot that was accepted is refused.
    #[must_use]
    pub const fn is_demanded(&self) -> bool {
        matches!(self, Self::Demanded { .. })
    }

    /// Which PCRs of hosts' TPMs must be their registers.
    #[must_use]
    pub fn register_pcrs(&self) -> RegisterPcrs {
        match self {
            Self::Demanded { register_pcrs, .. } => *register_pcrs,
            Self::NotDemanded => RegisterPcrs::default(),
        }
    }

    /// The keys whose releases may be registered.
    #[must_use]
    pub fn signers(&self) -> Vec<[u8; 32]> {
        match self {
            Self::Demanded { release_keys, .. } => release_keys.iter().map(|key| key.0).collect(),
            Self::NotDemanded => Vec::new(),
        }
    }
}
