//! What a certificate is for.

use crate::cose::Curve;

/// Object identifiers of extended key usages, as arcs (for issuing) and as the contents of their
/// DER (for path validation).
struct KeyPurpose {
    arcs: &'static [u64],
    der: &'static [u8],
}

/// `tcg-dice-kp-eca`, TCG DICE Attestation Architecture 1.1.
const ECA: KeyPurpose = KeyPurpose {
    arcs: &[2, 23, 133, 5, 4, 100, 12],
    der: b"\x67\x81\x05\x05\x04\x64\x0c",
};
/// `tcg-dice-kp-attestLoc`.
const ATTEST_LOC: KeyPurpose = KeyPurpose {
    arcs: &[2, 23, 133, 5, 4, 100, 9],
    der: b"\x67\x81\x05\x05\x04\x64\x09",
};
/// `tcg-dice-kp-assertLoc`.
const ASSERT_LOC: KeyPurpose = KeyPurpose {
    arcs: &[2, 23, 133, 5, 4, 100, 11],
    der: b"\x67\x81\x05\x05\x04\x64\x0b",
};
/// `id-kp-serverAuth`, RFC 5280 section 4.2.1.12.
const SERVER_AUTH: KeyPurpose = KeyPurpose {
    arcs: &[1, 3, 6, 1, 5, 5, 7, 3, 1],
    der: b"\x2b\x06\x01\x05\x05\x07\x03\x01",
};
/// `id-kp-clientAuth`.
const CLIENT_AUTH: KeyPurpose = KeyPurpose {
    arcs: &[1, 3, 6, 1, 5, 5, 7, 3, 2],
    der: b"\x2b\x06\x01\x05\x05\x07\x03\x02",
};
/// `id-kp-codeSigning`.
const CODE_SIGNING: KeyPurpose = KeyPurpose {
    arcs: &[1, 3, 6, 1, 5, 5, 7, 3, 3],
    der: b"\x2b\x06\x01\x05\x05\x07\x03\x03",
};
/// `id-kp-jwt`, RFC 9509.
const JWT: KeyPurpose = KeyPurpose {
    arcs: &[1, 3, 6, 1, 5, 5, 7, 3, 37],
    der: b"\x2b\x06\x01\x05\x05\x07\x03\x25",
};

/// What a former fleet CA is believed for by who has followed to another one: all but servers, which are certified by the
/// present CA before who follows it asks them anything.
const OF_FORMER_CA: &[KeyPurpose] = &[ECA, ATTEST_LOC, ASSERT_LOC, CLIENT_AUTH, CODE_SIGNING, JWT];

/// What a certificate is for.
///
/// Leaves have key usage `digitalSignature` and no `keyCertSign`; the card's has `keyCertSign` and
/// basic constraints "CA, path length 0".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Usage {
    /// A card's identity: certifies that host's keys. It carries its leaves' usages too, since path
    /// validation wants a leaf's usage in its issuers as well.
    Card,
    /// A measurer's report key.
    ReportKey,
    /// A key made in a guest.
    GuestKey,
    /// A host towards the verifier.
    TlsClient,
    /// The verifier towards everybody.
    TlsServer,
    /// An operator: TLS client, signer of launch records.
    Operator,
    /// The verifier's key for attestation results.
    Token,
    /// The enclave on every link of its: to its card, to its hypervisor, to the verifier. Not for servers' names, though the enclave
    /// is the one that accepts on links within the host: nothing that a card certifies can pass for the verifier.
    EnclaveTls,
    /// What the enclave signs evidence with.
    Evidence,
    /// The hypervisor towards its enclave.
    Hypervisor,
}

impl Usage {
    /// Every usage.
    pub const ALL: [Self; 10] = [
        Self::Card,
        Self::ReportKey,
        Self::GuestKey,
        Self::TlsClient,
        Self::TlsServer,
        Self::Operator,
        Self::Token,
        Self::EnclaveTls,
        Self::Evidence,
        Self::Hypervisor,
    ];

    /// The certificate's extended key usages, exactly: object identifiers as arcs.
    #[must_use]
    pub fn extended_key_usages(self) -> Vec<&'static [u64]> {
        self.purposes().iter().map(|purpose| purpose.arcs).collect()
    }

    /// Whether a former fleet CA is believed for it by who has followed to another one.
    #[must_use]
    pub const fn outlasts_its_ca(self) -> bool {
        !matches!(self, Self::TlsServer)
    }

    /// What "old with new" says that a former fleet CA is believed for, exactly: object identifiers as arcs.
    #[must_use]
    pub fn of_former_ca() -> Vec<&'static [u64]> {
        OF_FORMER_CA.iter().map(|purpose| purpose.arcs).collect()
    }

    /// The same, DER contents of the object identifiers.
    pub(super) fn of_former_ca_der() -> Vec<&'static [u8]> {
        OF_FORMER_CA.iter().map(|purpose| purpose.der).collect()
    }

    /// The curve of its key.
    #[must_use]
    pub const fn curve(self) -> Curve {
        match self {
            Self::Token => Curve::P256,
            _ => Curve::P384,
        }
    }

    /// Whether a card certifies it; otherwise the fleet CA does.
    #[must_use]
    pub const fn issued_by_card(self) -> bool {
        matches!(
            self,
            Self::ReportKey
                | Self::GuestKey
                | Self::TlsClient
                | Self::EnclaveTls
                | Self::Evidence
                | Self::Hypervisor
        )
    }

    /// Certificates in its chain, the fleet CA's not counted.
    #[must_use]
    pub const fn chain_len(self) -> usize {
        if self.issued_by_card() { 2 } else { 1 }
    }

    /// Whether its certificate names the vault in a TcbInfo extension.
    #[must_use]
    pub const fn names_vault(self) -> bool {
        matches!(self, Self::Card) || self.issued_by_card()
    }

    /// Whether its TcbInfo extension carries a guest's launch measurement.
    #[must_use]
    pub const fn carries_launch_measurement(self) -> bool {
        matches!(self, Self::ReportKey | Self::GuestKey)
    }

    /// For people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Card => "card identity",
            Self::ReportKey => "report key",
            Self::GuestKey => "guest key",
            Self::TlsClient => "host TLS client",
            Self::TlsServer => "TLS server",
            Self::Operator => "operator",
            Self::Token => "token key",
            Self::EnclaveTls => "enclave TLS",
            Self::Evidence => "evidence key",
            Self::Hypervisor => "hypervisor",
        }
    }

    /// The one usage that path validation asks for, DER contents of its object identifier.
    pub(super) const fn required_purpose(self) -> &'static [u8] {
        match self {
            Self::Card => ECA.der,
            Self::ReportKey | Self::Evidence => ATTEST_LOC.der,
            Self::GuestKey => ASSERT_LOC.der,
            Self::TlsClient | Self::Operator | Self::EnclaveTls | Self::Hypervisor => {
                CLIENT_AUTH.der
            }
            Self::TlsServer => SERVER_AUTH.der,
            Self::Token => JWT.der,
        }
    }

    /// All usages of the certificate, DER contents of their object identifiers.
    pub(super) fn purposes_der(self) -> Vec<&'static [u8]> {
        self.purposes().iter().map(|purpose| purpose.der).collect()
    }

    const fn purposes(self) -> &'static [KeyPurpose] {
        match self {
            Self::Card => &[ECA, ATTEST_LOC, ASSERT_LOC, CLIENT_AUTH],
            Self::ReportKey | Self::Evidence => &[ATTEST_LOC],
            Self::GuestKey => &[ASSERT_LOC],
            Self::TlsClient | Self::EnclaveTls | Self::Hypervisor => &[CLIENT_AUTH],
            Self::TlsServer => &[SERVER_AUTH],
            Self::Operator => &[CLIENT_AUTH, CODE_SIGNING],
            Self::Token => &[JWT],
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::der_parser::oid::Oid;

    use super::*;

    #[test]
    fn arcs_and_der_name_the_same_purpose() {
        for purpose in Usage::ALL.into_iter().flat_map(Usage::purposes) {
            assert_eq!(Oid::from(purpose.arcs).unwrap().as_bytes(), purpose.der);
        }
    }

    #[test]
    fn a_former_ca_is_believed_for_the_purposes_of_all_but_servers() {
        let (left, over): (Vec<_>, Vec<_>) =
            (Usage::ALL.into_iter()).partition(|usage| usage.outlasts_its_ca());
        assert_eq!(over, [Usage::TlsServer]);
        let mut purposes: Vec<_> = left.into_iter().flat_map(Usage::purposes_der).collect();
        purposes.sort_unstable();
        purposes.dedup();
        let mut believed = Usage::of_former_ca_der();
        believed.sort_unstable();
        assert_eq!(believed, purposes);
        assert!(!believed.contains(&SERVER_AUTH.der));
    }

    #[test]
    fn nothing_that_a_card_certifies_passes_for_a_server() {
        let by_card = |usage: &Usage| *usage == Usage::Card || usage.issued_by_card();
        for usage in Usage::ALL.into_iter().filter(by_card) {
            assert!(
                !usage.purposes_der().contains(&SERVER_AUTH.der),
                "{usage:?}"
            );
        }
    }

    #[test]
    fn the_required_purpose_is_one_of_the_purposes_of_leaf_and_card() {
        for usage in Usage::ALL {
            let required = usage.required_purpose();
            assert!(
                usage
                    .purposes()
                    .iter()
                    .any(|purpose| purpose.der == required)
            );
            if usage.issued_by_card() {
                assert!(
                    Usage::Card
                        .purposes()
                        .iter()
                        .any(|purpose| purpose.der == required)
                );
            }
        }
    }
}
