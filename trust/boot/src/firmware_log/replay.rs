//! A log to the PCRs that it explains.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{Algorithm, Context, Digest, SHA256, SHA384};

use super::{EventType, FirmwareLog, FirmwareLogError};
use crate::Sha384;

/// A bank of PCRs that a log can be replayed to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bank {
    /// SHA-256.
    Sha256,
    /// SHA-384: the one that quotes are of.
    Sha384,
}

/// What a PCR holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PcrValue(Vec<u8>);

/// PCRs of a TPM.
const PCRS: u8 = 24;
/// What a startup locality event begins with (section 10.4.5.3).
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

impl Bank {
    /// All.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha384];

    /// Its algorithm's id (TCG Algorithm Registry).
    #[must_use]
    pub const fn algorithm(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
        }
    }

    /// Its name, as tpm2-tools have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
        }
    }

    /// The digest over all parts.
    pub(super) fn hash(self, parts: &[&[u8]]) -> PcrValue {
        let mut context = Context::new(self.digest());
        parts.iter().for_each(|part| context.update(part));
        PcrValue::from(context.finish())
    }

    const fn digest(self) -> &'static Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
        }
    }

    /// What a PCR holds once the machine was started: zero, but all ones in those of a dynamic launch (TCG PC Client Platform TPM
    /// Profile 1.05 section 4.6.2).
    fn start(self, pcr: u8) -> PcrValue {
        let byte = if (17..=22).contains(&pcr) { 0xff } else { 0 };
        PcrValue(vec![byte; self.digest().output_len()])
    }
}

impl PcrValue {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Digest> for PcrValue {
    fn from(digest: Digest) -> Self {
        Self(digest.as_ref().to_vec())
    }
}

impl fmt::Display for PcrValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl FirmwareLog<'_> {
    /// What all PCRs of a bank hold after these events.
    pub fn replay(&self, bank: Bank) -> Result<BTreeMap<u8, PcrValue>, FirmwareLogError> {
        let id = bank.algorithm();
        if !self.algorithms.iter().any(|algorithm| algorithm.id == id) {
            return Err(FirmwareLogError::NoBank(bank));
        }
        let mut pcrs: BTreeMap<_, _> = (0..PCRS).map(|pcr| (pcr, bank.start(pcr))).collect();
        let (mut located, mut extended) = (false, false);
        for (index, event) in self.events.iter().enumerate() {
            if event.event_type == EventType::NO_ACTION {
                if let Some(data) = event.data.strip_prefix(STARTUP_LOCALITY) {
                    // Where the TPM was started from is PCR 0's first byte from behind: 3 or 4, else 0.
                    let (&[locality @ (0 | 3 | 4)], false, false) = (data, located, extended)
                    else {
                        return Err(FirmwareLogError::StartupLocality(index));
                    };
                    located = true;
                    if let Some(last) = pcrs.get_mut(&0).and_then(|value| value.0.last_mut()) {
                        *last = locality;
                    }
                }
                continue;
            }
            extended |= event.pcr == 0;
            let pcr = u8::try_from(event.pcr).ok();
            let value = pcr.and_then(|pcr| pcrs.get_mut(&pcr));
            // INVARIANT: an event that was read is of a PCR that there is, and has a digest of each bank.
            if let (Some(value), Some(digest)) = (value, event.digest(bank)) {
                *value = bank.hash(&[&value.0, digest]);
            }
        }
        Ok(pcrs)
    }

    /// Whether it replays to what these PCRs of the SHA-384 bank hold.
    pub fn explains(&self, pcrs: &BTreeMap<u8, Sha384>) -> Result<(), FirmwareLogError> {
        let replayed = self.replay(Bank::Sha384)?;
        for (&pcr, &found) in pcrs {
            let expected = replayed.get(&pcr).and_then(PcrValue::sha384);
            let expected = expected.ok_or(FirmwareLogError::Pcr {
                index: self.events.len(),
                pcr: pcr.into(),
            })?;
            if expected != found {
                return Err(FirmwareLogError::Replay {
                    pcr,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}

impl PcrValue {
    fn sha384(&self) -> Option<Sha384> {
        self.0.as_slice().try_into().map(Sha384).ok()
    }
}
