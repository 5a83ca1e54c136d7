//! What is demanded of what hosts' own firmware measured.

use std::collections::BTreeSet;

use bartizan_attestation::boot::Register;
use serde::Deserialize;

use super::MeasuredBoot;

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

impl MeasuredBoot {
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
}
