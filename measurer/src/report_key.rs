//! The report key: made here, certified by the card, renewed at half life.
//!
//! A new key is made at half of the current certificate's life; the current one signs on until the new
//! certificate arrives, so that a renewal never leaves a gap. A key without a valid certificate signs
//! nothing. One that was replaced is wiped at once: requests are worked off one after another, so that none still needs it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bartizan_attestation::cose::{MAX_CERTIFICATE, MAX_CHAIN, PublicKey};
use bartizan_attestation::csr::{EphemeralKey, KeyError};
use bartizan_attestation::host::ReportKeyRotated;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// How long after asking in vain the same request is sent once more.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// The key in use and the one that awaits its certificate.
pub(crate) struct ReportKeys {
    current: Option<Certified>,
    pending: Option<Pending>,
    /// The last order to make a new key.
    ordered: Option<u64>,
}

/// A key and its certificate chain.
pub(crate) struct Certified {
    pub(crate) key: EphemeralKey,
    /// DER, leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// Seconds since the Unix epoch.
    not_before: u64,
    not_after: u64,
    renew_at: Instant,
}

impl Certified {
    fn is_valid(&self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

struct Pending {
    key: EphemeralKey,
    csr: Vec<u8>,
    ask_at: Instant,
    /// The last order that came before it was made.
    order: Option<u64>,
}

/// A key that was taken into use.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) order: Option<u64>,
    pub(crate) rotated: ReportKeyRotated,
}

/// A chain from the supervisor that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// No key waits for one.
    #[error("a certificate arrived that was not asked for")]
    NotAsked,
    /// It is no chain that fits into a report.
    #[error(
        "the chain must have 1 to {MAX_CHAIN} DER certificates of at most {MAX_CERTIFICATE} bytes"
    )]
    Malformed,
    /// It is for another key, such as one asked for before.
    #[error("the certificate is not for the key that waits for one")]
    OtherKey,
    /// It has expired or is not valid yet.
    #[error("the certificate is not valid now; check the host's clock")]
    NotValidNow,
}

impl ReportKeys {
    /// No key yet; [`ReportKeys::due`] makes the first.
    pub(crate) const fn new() -> Self {
        Self {
            current: None,
            pending: None,
            ordered: None,
        }
    }

    /// Has another key made at once, instead of one that still waits for its certificate. The current one signs on meanwhile.
    pub(crate) fn rotate(&mut self, order: u64) {
        self.ordered = Some(order);
        self.pending = None;
        if let Some(current) = &mut self.current {
            current.renew_at = Instant::now();
        }
    }

    /// A CSR to be sent now, if one is due.
    pub(crate) fn due(&mut self) -> Result<Option<Vec<u8>>, KeyError> {
        let now = Instant::now();
        if self.next_due().is_some_and(|at| at > now) {
            return Ok(None);
        }
        let pending = match self.pending.take() {
            Some(pending) => Pending {
                ask_at: now + ASK_AGAIN,
                ..pending
            },
            None => {
                let key = EphemeralKey::generate()?;
                Pending {
                    csr: key.csr()?,
                    key,
                    ask_at: now + ASK_AGAIN,
                    order: self.ordered,
                }
            }
        };
        let csr = pending.csr.clone();
        self.pending = Some(pending);
        Ok(Some(csr))
    }

    /// When [`ReportKeys::due`] is to be called next; `None`: now. The half of a life is counted by a clock that nobody sets, but a
    /// certificate that the host's clock has left behind, or not reached, is replaced at once.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        match (&self.pending, self.current()) {
            (Some(pending), _) => Some(pending.ask_at),
            (None, Some(current)) => Some(current.renew_at),
            (None, None) => None,
        }
    }

    /// Takes the pending key into use with its chain.
    pub(crate) fn install(&mut self, chain: Vec<Vec<u8>>) -> Result<Installed, InstallError> {
        let pending = self.pending.as_mut().ok_or(InstallError::NotAsked)?;
        let leaf = read_leaf(&chain)?;
        if leaf.public_key != pending.key.public_key() {
            // It was on its way when another key was ordered: whoever brought it takes the newest request for done.
            pending.ask_at = Instant::now();
            return Err(InstallError::OtherKey);
        }
        let now = unix_now();
        if !(leaf.not_before..=leaf.not_after).contains(&now) {
            return Err(InstallError::NotValidNow);
        }
        let half = Duration::from_secs((leaf.not_after - now) / 2);
        let Pending { key, order, .. } = self.pending.take().ok_or(InstallError::NotAsked)?;
        let new = key.public_key().sha256().into();
        let former = self.current.replace(Certified {
            key,
            chain,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            renew_at: Instant::now() + half,
        });
        // Dropping it wipes it.
        let destroyed = former.map(|former| former.key.public_key().sha256().into());
        Ok(Installed {
            order,
            rotated: ReportKeyRotated { new, destroyed },
        })
    }

    /// The key in use, while its certificate is valid.
    pub(crate) fn current(&self) -> Option<&Certified> {
        self.current
            .as_ref()
            .filter(|current| current.is_valid(unix_now()))
    }
}

struct Leaf {
    public_key: PublicKey,
    not_before: u64,
    not_after: u64,
}

fn read_leaf(chain: &[Vec<u8>]) -> Result<Leaf, InstallError> {
    if chain.len() > MAX_CHAIN || chain.iter().any(|der| der.len() > MAX_CERTIFICATE) {
        return Err(InstallError::Malformed);
    }
    let leaf = chain.first().ok_or(InstallError::Malformed)?;
    let Ok(([], certificate)) = X509Certificate::from_der(leaf) else {
        return Err(InstallError::Malformed);
    };
    let seconds = |at: i64| u64::try_from(at).map_err(|_| InstallError::Malformed);
    Ok(Leaf {
        public_key: PublicKey::from_spki_der(certificate.public_key().raw)
            .map_err(|_| InstallError::Malformed)?,
        not_before: seconds(certificate.validity().not_before.timestamp())?,
        not_after: seconds(certificate.validity().not_after.timestamp())?,
    })
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests;
