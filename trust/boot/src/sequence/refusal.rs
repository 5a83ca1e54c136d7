//! Why a boot does not go on.

use minicbor::{Decode, Encode};

use crate::{Part, Phase, Sha384};

/// Why a step is refused. The boot ends with the first one.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// A component is not what the manifest says.
    #[n(0)]
    #[error("phase {phase}: `{component}` has SHA-384 {found}, the release allows {}", one_of(.expected))]
    Mismatch {
        /// In which phase.
        #[n(0)]
        phase: Phase,
        /// Which component.
        #[n(1)]
        component: String,
        /// What is allowed.
        #[n(2)]
        expected: Vec<Sha384>,
        /// What was found.
        #[n(3)]
        found: Sha384,
    },
    /// A manifest by another key.
    #[n(1)]
    #[error(
        "the release manifest is signed by key {}, this host takes releases of {}",
        hex::encode(.found), hex::encode(.expected)
    )]
    Signer {
        /// SHA-256 of the key's SubjectPublicKeyInfo, as it must be.
        #[cbor(n(0), with = "minicbor::bytes")]
        expected: [u8; 32],
        /// As it is.
        #[cbor(n(1), with = "minicbor::bytes")]
        found: [u8; 32],
    },
    /// A manifest that is older than one that this host has started already.
    #[n(2)]
    #[error(
        "version {found} of the {part} was rolled back: this host has started version {lowest} already; release a higher one"
    )]
    RolledBack {
        /// Of which part.
        #[n(0)]
        part: Part,
        /// The lowest version that is accepted.
        #[n(1)]
        lowest: u64,
        /// The version found.
        #[n(2)]
        found: u64,
    },
    /// A step that is not the one that is due.
    #[n(3)]
    #[error("{found} is out of order{}{}", at(*.phase, *.failed), due(.expected.as_deref()))]
    OutOfOrder {
        /// In which phase; `None` after the last.
        #[n(0)]
        phase: Option<Phase>,
        /// Whether the boot was stopped in that phase.
        #[n(1)]
        failed: bool,
        /// The component that is due.
        #[n(2)]
        expected: Option<String>,
        /// What came.
        #[n(3)]
        found: String,
    },
    /// A phase of which something was not measured.
    #[n(4)]
    #[error("phase {phase} cannot end: `{missing}` was not measured")]
    Incomplete {
        /// Which.
        #[n(0)]
        phase: Phase,
        /// The first that was not measured.
        #[n(1)]
        missing: String,
    },
    /// A name of the base, or one beneath it, in the bundle.
    #[n(5)]
    #[error("the bundle has a component `{0}`, or one beneath it, which the base has already")]
    Taken(#[n(0)] String),
    /// A component cannot be read.
    #[n(6)]
    #[error("phase {phase}: `{component}` cannot be measured: {why}")]
    Unreadable {
        /// In which phase.
        #[n(0)]
        phase: Phase,
        /// Which component.
        #[n(1)]
        component: String,
        /// Why.
        #[n(2)]
        why: String,
    },
    /// A manifest or bundle cannot be used: not signed, or malformed.
    #[n(7)]
    #[error("{0}")]
    Manifest(#[n(0)] String),
    /// The registers do not hold what was extended.
    #[n(8)]
    #[error("{0}")]
    Registers(#[n(0)] String),
    /// A program could not be started, or did not become ready.
    #[n(9)]
    #[error("phase {phase}: `{component}` was not started: {why}")]
    NotStarted {
        /// In which phase.
        #[n(0)]
        phase: Phase,
        /// Which program.
        #[n(1)]
        component: String,
        /// Why.
        #[n(2)]
        why: String,
    },
}

impl Refusal {
    /// The component that it is about, and what was found in its place.
    pub(crate) fn component(&self) -> (Option<&str>, Option<Sha384>) {
        match self {
            Self::Mismatch {
                component, found, ..
            } => (Some(component), Some(*found)),
            Self::Unreadable { component, .. } | Self::NotStarted { component, .. } => {
                (Some(component), None)
            }
            Self::Incomplete { missing, .. } => (Some(missing), None),
            Self::Taken(name) => (Some(name), None),
            Self::OutOfOrder { expected, .. } => (expected.as_deref(), None),
            Self::Signer { .. }
            | Self::RolledBack { .. }
            | Self::Manifest(_)
            | Self::Registers(_) => (None, None),
        }
    }
}

fn one_of(digests: &[Sha384]) -> String {
    let shown: Vec<_> = digests.iter().take(4).map(Sha384::to_string).collect();
    let more = digests.len().saturating_sub(shown.len());
    match more {
        0 => shown.join(" or "),
        more => format!("{} or {more} more", shown.join(" or ")),
    }
}

fn at(phase: Option<Phase>, failed: bool) -> String {
    match phase {
        Some(phase) if failed => format!(": the boot was stopped in phase {phase}"),
        Some(phase) => format!(" in phase {phase}"),
        None => " after the last phase".into(),
    }
}

fn due(component: Option<&str>) -> String {
    component.map_or_else(String::new, |name| format!(", `{name}` is due"))
}
