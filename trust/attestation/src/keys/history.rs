//! What became of a vault's keys: events in the order in which they happened.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::Purpose;
use crate::certificates::Usage;

/// Which kind of key an event is of: one of a vault's own, or one that it certified for somebody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum KeyKind {
    /// The fleet CA's.
    #[n(0)]
    FleetCa,
    /// A host's identity.
    #[n(1)]
    Card,
    /// The verifier's TLS server key.
    #[n(2)]
    TlsServer,
    /// A host's TLS client key.
    #[n(3)]
    TlsClient,
    /// A token key.
    #[n(4)]
    Token,
    /// A measurer's report key; the vault only certifies it.
    #[n(5)]
    Report,
    /// A guest's key; the vault only certifies it.
    #[n(6)]
    Guest,
    /// An operator's key; the vault only certifies it.
    #[n(7)]
    Operator,
    /// What a vault seals its keys and its store with. It has no public half: it goes by a digest of its number.
    #[n(8)]
    Sealing,
    /// The enclave's TLS key; the vault only certifies it.
    #[n(9)]
    EnclaveTls,
    /// The enclave's evidence key; the vault only certifies it.
    #[n(10)]
    Evidence,
    /// The hypervisor's TLS key; the vault only certifies it.
    #[n(11)]
    Hypervisor,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::FleetCa,
        Self::Card,
        Self::TlsServer,
        Self::TlsClient,
        Self::Token,
        Self::Report,
        Self::Guest,
        Self::Operator,
        Self::Sealing,
        Self::EnclaveTls,
        Self::Evidence,
        Self::Hypervisor,
    ];

    /// Its name on the command line and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FleetCa => "fleet-ca",
            Self::Card => "card",
            Self::TlsServer => "tls-server",
            Self::TlsClient => "tls-client",
            Self::Token => "token",
            Self::Report => "report",
            Self::Guest => "guest",
            Self::Operator => "operator",
            Self::Sealing => "sealing",
            Self::EnclaveTls => "enclave-tls",
            Self::Evidence => "evidence",
            Self::Hypervisor => "hypervisor",
        }
    }
}

impl From<Purpose> for KeyKind {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::FleetCa => Self::FleetCa,
            Purpose::CardIdentity => Self::Card,
            Purpose::TlsServer => Self::TlsServer,
            Purpose::TlsClient => Self::TlsClient,
            Purpose::Token => Self::Token,
        }
    }
}

impl From<Usage> for KeyKind {
    fn from(usage: Usage) -> Self {
        match usage {
            Usage::Card => Self::Card,
            Usage::ReportKey => Self::Report,
            Usage::GuestKey => Self::Guest,
            Usage::TlsClient => Self::TlsClient,
            Usage::TlsServer => Self::TlsServer,
            Usage::Operator => Self::Operator,
            Usage::Token => Self::Token,
            Usage::EnclaveTls => Self::EnclaveTls,
            Usage::Evidence => Self::Evidence,
            Usage::Hypervisor => Self::Hypervisor,
        }
    }
}

/// One event of a vault's history.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct KeyEvent {
    /// Counts all events of this vault, from 0: a gap shows that some gave way.
    #[n(0)]
    pub number: u64,
    /// When, by the vault's clock, in seconds since the Unix epoch. Clocks are set; the number tells the order.
    #[n(1)]
    pub at_s: u64,
    /// Of which kind of key.
    #[n(2)]
    pub kind: KeyKind,
    /// SHA-256 over the key's DER SubjectPublicKeyInfo.
    #[n(3)]
    pub id: ByteArray<32>,
    /// What happened.
    #[n(4)]
    pub what: KeyEventKind,
}

/// What happened to a key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum KeyEventKind {
    /// The vault made it.
    #[n(0)]
    Made,
    /// It was certified: by this vault, or, a card's, by the fleet CA.
    #[n(1)]
    Certified {
        /// SHA-256 over the certificate's DER.
        #[n(0)]
        certificate: ByteArray<32>,
        /// When the certificate ends, in seconds since the Unix epoch.
        #[n(1)]
        not_after: u64,
    },
    /// Another key of its kind was made: it signs only what was begun with it, until its certificate ends.
    #[n(2)]
    Superseded {
        /// The other key.
        #[n(0)]
        by: ByteArray<32>,
    },
    /// The back end destroyed it.
    #[n(3)]
    Destroyed,
    /// The back end could not destroy it; the vault goes on trying at each change of its store, and signs nothing with it.
    #[n(4)]
    NotDestroyed {
        /// Why.
        #[n(0)]
        why: String,
    },
    /// An administrator had it put out of use before its end.
    #[n(5)]
    Revoked,
}

impl KeyEventKind {
    /// Longest reason in bytes.
    pub const MAX_WHY: usize = 200;

    /// One word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Certified { .. } => "certified",
            Self::Superseded { .. } => "superseded",
            Self::Destroyed => "destroyed",
            Self::NotDestroyed { .. } => "not-destroyed",
            Self::Revoked => "revoked",
        }
    }

    /// That the back end failed, in few words.
    #[must_use]
    pub fn not_destroyed(error: &impl std::fmt::Display) -> Self {
        let mut why = error.to_string();
        why.truncate(why.floor_char_boundary(Self::MAX_WHY));
        Self::NotDestroyed { why }
    }
}
