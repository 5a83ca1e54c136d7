//! The phases of a boot, and the two parts in which they are released.

use std::fmt;

use minicbor::{Decode, Encode};

/// A phase. Each begins when all before it have ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// Vault, card, the coordinator's first stage.
    #[n(1)]
    Card,
    /// Devices; QEMU, its firmware and libraries.
    #[n(2)]
    Devices,
    /// The coordinator's second stage.
    #[n(3)]
    Coordinator,
    /// Hypervisor, supervisor, measurer.
    #[n(4)]
    Hypervisor,
    /// The enclave's kernel, image, command line.
    #[n(5)]
    Enclave,
}

/// What is signed, versioned and updated as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Part {
    /// Phases 1 and 2: what the host starts from.
    #[n(1)]
    Base,
    /// Phases 3 to 5: the bundle that the coordinator fetches.
    #[n(2)]
    Bundle,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Self; 5] = [
        Self::Card,
        Self::Devices,
        Self::Coordinator,
        Self::Hypervisor,
        Self::Enclave,
    ];

    /// Its number, from 1 on.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Card => 1,
            Self::Devices => 2,
            Self::Coordinator => 3,
            Self::Hypervisor => 4,
            Self::Enclave => 5,
        }
    }

    /// Its name: `card`, `devices`, `coordinator`, `hypervisor`, `enclave`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Devices => "devices",
            Self::Coordinator => "coordinator",
            Self::Hypervisor => "hypervisor",
            Self::Enclave => "enclave",
        }
    }

    /// The phase of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// The part whose manifest speaks of it.
    #[must_use]
    pub const fn part(self) -> Part {
        match self {
            Self::Card | Self::Devices => Part::Base,
            Self::Coordinator | Self::Hypervisor | Self::Enclave => Part::Bundle,
        }
    }

    /// The next one; after the last there is none.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Card => Some(Self::Devices),
            Self::Devices => Some(Self::Coordinator),
            Self::Coordinator => Some(Self::Hypervisor),
            Self::Hypervisor => Some(Self::Enclave),
            Self::Enclave => None,
        }
    }
}

impl Part {
    /// Its name: `base`, `bundle`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Bundle => "bundle",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.name())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
