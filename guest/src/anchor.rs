//! The anchor of trust: SHA-256 of the fleet CA certificate, on the kernel command line.

use std::path::Path;

use bartizan_attestation::certificates::{FleetCa, LineageError};

/// The kernel parameter that carries it.
const PARAMETER: &str = "bartizan.anchor=";

/// The pinned digest of the fleet CA certificate (DER).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor([u8; 32]);

/// There is no usable anchor, or something is not what it pins.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The kernel command line cannot be read.
    #[error("/proc/cmdline cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It carries no anchor, or several.
    #[error(
        "the kernel command line carries {0} `bartizan.anchor=` parameters, expected one; was this guest started from a launch record?"
    )]
    Count(usize),
    /// The anchor is not a digest.
    #[error("`bartizan.anchor=` is no SHA-256 in hexadecimal")]
    Malformed,
    /// The fleet CA certificate is not the pinned one.
    #[error(
        "the host presented a fleet CA with SHA-256 {found}, this guest was launched with {pinned}"
    )]
    Mismatch {
        /// What was launched with.
        pinned: String,
        /// What was presented.
        found: String,
    },
    /// The other CAs that the host presented are not those of the pinned one's fleet.
    #[error(
        "the host presented fleet CAs that the one that this guest was launched with does not lead to: {0}"
    )]
    Lineage(#[from] LineageError),
    /// The certificate is pinned but unusable.
    #[error("the fleet CA certificate is unusable: {0}")]
    Certificate(#[from] bartizan_attestation::certificates::FleetCaError),
}

impl Anchor {
    /// The anchor that this guest was launched with.
    pub fn of_this_guest() -> Result<Self, AnchorError> {
        Self::from_command_line(&std::fs::read_to_string(Path::new("/proc/cmdline"))?)
    }

    /// The anchor on a kernel command line. Two of them are an attempt to slip in another.
    pub fn from_command_line(line: &str) -> Result<Self, AnchorError> {
        let found: Vec<_> = line
            .split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix(PARAMETER))
            .collect();
        let [digest] = found.as_slice() else {
            return Err(AnchorError::Count(found.len()));
        };
        let mut anchor = [0; 32];
        hex::decode_to_slice(digest, &mut anchor).map_err(|_| AnchorError::Malformed)?;
        Ok(Self(anchor))
    }

    /// The fleet CA, if it is the pinned one.
    pub fn check(&self, certificate: &[u8]) -> Result<FleetCa, AnchorError> {
        let fleet_ca = FleetCa::from_der(certificate)?;
        if fleet_ca.sha256() == self.0 {
            return Ok(fleet_ca);
        }
        Err(AnchorError::Mismatch {
            pinned: hex::encode(self.0),
            found: hex::encode(fleet_ca.sha256()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_anchor_is_taken_and_two_are_refused() {
        let digest = "ab".repeat(32);
        let line = format!("root=/dev/vda quiet bartizan.anchor={digest}\n");
        assert_eq!(
            Anchor::from_command_line(&line).unwrap(),
            Anchor([0xab; 32])
        );
        let twice = format!("{line} bartizan.anchor={}", "cd".repeat(32));
        assert!(matches!(
            Anchor::from_command_line(&twice),
            Err(AnchorError::Count(2))
        ));
        assert!(matches!(
            Anchor::from_command_line("quiet"),
            Err(AnchorError::Count(0))
        ));
        let short = Anchor::from_command_line("bartizan.anchor=abcd");
        assert!(matches!(short, Err(AnchorError::Malformed)));
    }
}
