//! What is demanded of hosts' boots.

use std::collections::BTreeSet;

use bartizan_attestation::boot::Register;
use serde::Deserialize;

/// What hosts must have been booted from. There is no default: whoever writes the configuration decides.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum MeasuredBoot {
    /// Releases that an operator has registered and that one of these keys has signed.
    Demanded {
        /// SHA-256 over the SubjectPublicKeyInfo of each release key, 64 hexadecimal digits.
        release_keys: Vec<ReleaseKey>,
        /// And what the hosts' own firmware must have measured before.
        firmware: FirmwareDemand,
    },
    /// Anything. Results say so: they name no release.
    NotDemanded,
}

/// What hosts must show of their own firmware. There is no default here either.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum FirmwareDemand {
    /// Nothing. What is shown is compared with the TPM's quote all the same, and results say whether it was.
    NotDemanded,
    /// That of hosts with a TPM these PCRs are in the quote, explained by the firmware's log, and those of a reference that an
    /// operator has registered. Other hosts are served, and results say that nothing is known of theirs.
    TpmHosts(DemandedPcrs),
    /// The same of all hosts: one without a TPM is refused.
    AllHosts(DemandedPcrs),
}

/// Which PCRs are demanded.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemandedPcrs {
    /// By number.
    pub pcrs: FirmwarePcrs,
}

/// PCRs of a host's firmware: one at least, none of those that are registers or that software resets.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "BTreeSet<u8>")]
pub struct FirmwarePcrs(BTreeSet<u8>);

/// No such set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`pcrs` of `firmware` names one PCR at least, below 24, and none of 12, 15, 16 and 23; 0, 2, 4 and 7 are code and Secure Boot"
)]
pub struct FirmwarePcrsError;

/// PCRs that software can reset.
const RESETTABLE: [u8; 2] = [16, 23];
/// PCRs of a TPM.
const PCRS: u8 = 24;

/// Whether a PCR can be of a host's firmware.
#[must_use]
pub fn is_firmware_pcr(pcr: u8) -> bool {
    let registers = [Register::Measurement, Register::Authority].map(Register::pcr);
    pcr < PCRS && !RESETTABLE.contains(&pcr) && !registers.contains(&u32::from(pcr))
}

impl TryFrom<BTreeSet<u8>> for FirmwarePcrs {
    type Error = FirmwarePcrsError;

    fn try_from(pcrs: BTreeSet<u8>) -> Result<Self, FirmwarePcrsError> {
        let fits = !pcrs.is_empty() && pcrs.iter().copied().all(is_firmware_pcr);
        fits.then_some(Self(pcrs)).ok_or(FirmwarePcrsError)
    }
}

impl FirmwarePcrs {
    /// Their numbers, in ascending order.
    pub fn numbers(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied()
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

    /// The PCRs that are demanded of a host of its firmware, if any are.
    #[must_use]
    pub const fn firmware_of(&self, has_tpm: bool) -> Option<&FirmwarePcrs> {
        let Self::Demanded { firmware, .. } = self else {
            return None;
        };
        match firmware {
            FirmwareDemand::NotDemanded => None,
            FirmwareDemand::TpmHosts(demanded) if has_tpm => Some(&demanded.pcrs),
            FirmwareDemand::TpmHosts(_) => None,
            FirmwareDemand::AllHosts(demanded) => Some(&demanded.pcrs),
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
