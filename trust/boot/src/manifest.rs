//! The release manifest: what may be measured, signed offline.

use std::collections::BTreeSet;

use bartizan_cose::cbor::{self, CborError};
use bartizan_cose::{CoseError, MessageType, PublicKey, Sign, SignError, Unverified, sign1};
use minicbor::{Decode, Decoder, Encode};

use crate::component::covers;
use crate::{Component, ComponentError, Link, Part, Phase, Sha384, Start};

/// A release manifest, its components in the order in which they are measured.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// For people: what this is a release of.
    #[n(0)]
    pub product: String,
    /// Which part of a boot it speaks of.
    #[n(1)]
    pub part: Part,
    /// Goes up with each release: a vault that has seen a later one of the part refuses this one.
    #[n(2)]
    pub version: u64,
    /// In the order in which they are measured: by phases.
    #[cbor(n(3), decode_with = "at_most_components")]
    pub components: Vec<Component>,
}

/// A manifest whose signature was verified. Made by [`VerifiedManifest::verify`] only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedManifest {
    manifest: Manifest,
    signer: [u8; 32],
    sha384: Sha384,
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not signed, not by this key, or no manifest.
    #[error("the release manifest is not signed by the release key {key}: {source}", key = hex::encode(.key))]
    Signature {
        /// SHA-256 over the SubjectPublicKeyInfo of the key that it should be signed by.
        key: [u8; 32],
        /// Why.
        source: CoseError,
    },
    /// What is signed is no manifest.
    #[error("what was signed is no release manifest: {0}")]
    Payload(#[from] CborError),
    /// A component is impossible.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The components are not in the order of the phases, or of another part.
    #[error("`{component}` is of phase {phase}, out of order in a manifest of the {part}")]
    Order {
        /// Which.
        component: String,
        /// Its phase.
        phase: Phase,
        /// The manifest's part.
        part: Part,
    },
    /// A phase has nothing to be measured.
    #[error("phase {0} has no component")]
    EmptyPhase(Phase),
    /// Not each link that its boot needs is there, or one too many.
    #[error(
        "a manifest of the {part} has exactly one component with `link: {link}`, started in phase {}; this one has {}",
        .due, phases(.found)
    )]
    Link {
        /// The manifest's part.
        part: Part,
        /// Which link.
        link: &'static str,
        /// When it is due.
        due: Phase,
        /// When there is one.
        found: Vec<Phase>,
    },
    /// A bundle has a vault: it is told of the base, too.
    #[error(
        "`{0}` has `link: vault`, which nothing of a bundle can have; a boot's one vault is the base's"
    )]
    Vault(String),
    /// The product's name is too long.
    #[error("the product's name must have 1 to {MAX_PRODUCT} bytes")]
    Product,
    /// There are too many components.
    #[error("a manifest has at most {MAX_COMPONENTS} components")]
    TooMany,
}

/// Most components of a manifest.
const MAX_COMPONENTS: u64 = 1024;
/// Longest name of a product in bytes.
const MAX_PRODUCT: usize = 128;

fn at_most_components<C>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<Component>, minicbor::decode::Error> {
    cbor::at_most::<MAX_COMPONENTS, C, Component>(from, context)
}

impl Manifest {
    /// Checks and signs it. The result is a COSE_Sign1 of [`MessageType::ReleaseManifest`].
    pub fn sign(&self, key: &impl Sign) -> Result<Vec<u8>, SignManifestError> {
        self.check()?;
        let payload = cbor::encode(self);
        Ok(sign1(MessageType::ReleaseManifest, &payload, &[], key)?)
    }

    /// The components of one phase.
    pub fn of(&self, phase: Phase) -> impl Iterator<Item = &Component> {
        self.components
            .iter()
            .filter(move |component| component.phase == phase)
    }

    /// The programs that are started at the end of a phase.
    pub fn started_in(&self, phase: Phase) -> impl Iterator<Item = (&Component, &Start)> {
        self.components
            .iter()
            .filter_map(|component| Some((component, component.start.as_ref()?)))
            .filter(move |(_, start)| start.phase == phase)
    }

    fn check(&self) -> Result<(), ManifestError> {
        if !(1..=MAX_PRODUCT).contains(&self.product.len()) {
            return Err(ManifestError::Product);
        }
        if self.components.len() as u64 > MAX_COMPONENTS {
            return Err(ManifestError::TooMany);
        }
        let mut names = BTreeSet::new();
        let mut reached = Phase::Card;
        for component in &self.components {
            component.check()?;
            if component.phase < reached || component.phase.part() != self.part {
                return Err(ManifestError::Order {
                    component: component.name.clone(),
                    phase: component.phase,
                    part: self.part,
                });
            }
            reached = component.phase;
            if !names.insert(component.name.as_str()) {
                return Err(ComponentError::Doubled(component.name.clone()).into());
            }
        }
        // What the enclave needs is measured by whoever has one.
        let needed = Phase::ALL
            .into_iter()
            .filter(|phase| phase.part() == self.part && *phase != Phase::Enclave);
        for phase in needed {
            if self.of(phase).next().is_none() {
                return Err(ManifestError::EmptyPhase(phase));
            }
        }
        self.check_links()?;
        self.components.iter().try_for_each(|c| self.check_start(c))
    }

    /// The vault is told of a boot from its first phase on, and in each part one stage leads on to the next.
    fn check_links(&self) -> Result<(), ManifestError> {
        let linked = |link: Link| {
            let started = self.components.iter();
            started.filter(move |one| one.start.as_ref().and_then(|start| start.link) == Some(link))
        };
        let exactly = |link, name, due| {
            let found: Vec<_> = linked(link)
                .filter_map(|one| Some(one.start.as_ref()?.phase))
                .collect();
            match *found {
                [phase] if phase == due => Ok(()),
                _ => Err(ManifestError::Link {
                    part: self.part,
                    link: name,
                    due,
                    found,
                }),
            }
        };
        let leads_on = match self.part {
            Part::Base => {
                exactly(Link::Vault, "vault", Phase::Card)?;
                Phase::Devices
            }
            Part::Bundle => {
                if let Some(vault) = linked(Link::Vault).next() {
                    return Err(ManifestError::Vault(vault.name.clone()));
                }
                Phase::Coordinator
            }
        };
        exactly(Link::Coordinator, "coordinator", leads_on)
    }

    /// Whatever a program is started with has been measured by then. What a bundle's inherits may be of the base, too:
    /// [`crate::Sequence::accept`] looks at that, which has both.
    fn check_start(&self, component: &Component) -> Result<(), ManifestError> {
        let Some(start) = &component.start else {
            return Ok(());
        };
        let measured = || self.measured_before(component, start);
        let unnamed = start
            .named()
            .find(|name| measured().all(|other| other.name != *name));
        let uninherited = match self.part {
            Part::Base => self.inherits_nothing(component, start, &[]),
            Part::Bundle => None,
        };
        match unnamed.or(uninherited) {
            Some(missing) => Err(missing_of(component, missing).into()),
            None => Ok(()),
        }
    }

    /// What of a program's `inherits` names neither a component of `base` nor one that is measured before it is started.
    pub(crate) fn check_inherited(&self, base: &[Component]) -> Result<(), ComponentError> {
        let programs = self.components.iter();
        let mut programs = programs.filter_map(|one| Some((one, one.start.as_ref()?)));
        let missing = programs.find_map(|(one, start)| {
            let name = self.inherits_nothing(one, start, base)?;
            Some(missing_of(one, name))
        });
        missing.map_or(Ok(()), Err)
    }

    fn inherits_nothing<'a>(
        &self,
        component: &Component,
        start: &'a Start,
        base: &[Component],
    ) -> Option<&'a str> {
        let mut names = start.inherits.iter().map(String::as_str);
        names.find(|name| {
            let measured = self.measured_before(component, start);
            !base
                .iter()
                .chain(measured)
                .any(|other| covers(name, &other.name))
        })
    }

    /// The components that are measured before a program is started: with a vault's start nothing is waited for.
    fn measured_before(
        &self,
        component: &Component,
        start: &Start,
    ) -> impl Iterator<Item = &Component> {
        let vault = start.link == Some(Link::Vault);
        self.components
            .iter()
            .take_while(move |other| !vault || other.name != component.name)
            .filter(move |other| other.phase <= start.phase)
    }
}

fn missing_of(component: &Component, missing: &str) -> ComponentError {
    ComponentError::Missing {
        name: component.name.clone(),
        missing: missing.into(),
    }
}

fn phases(found: &[Phase]) -> String {
    match found {
        [] => "none".into(),
        found => {
            let named: Vec<_> = found
                .iter()
                .map(|phase| format!("one in phase {phase}"))
                .collect();
            named.join(", ")
        }
    }
}

impl VerifiedManifest {
    /// Verifies a signed manifest: by this key, in its one encoding, and a possible one.
    pub fn verify(signed: &[u8], key: &PublicKey) -> Result<Self, ManifestError> {
        let failed = |source| ManifestError::Signature {
            key: key.sha256(),
            source,
        };
        let message = Unverified::parse(signed, MessageType::ReleaseManifest).map_err(failed)?;
        let payload = message.verify(key).map_err(failed)?;
        let manifest: Manifest = cbor::decode_strict(&payload)?;
        manifest.check()?;
        Ok(Self {
            manifest,
            signer: key.sha256(),
            sha384: Sha384::of(&payload),
        })
    }

    /// What it says.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 over the SubjectPublicKeyInfo of who signed it.
    #[must_use]
    pub const fn signer(&self) -> &[u8; 32] {
        &self.signer
    }

    /// The digest of what was signed: the same for two signatures of one manifest.
    #[must_use]
    pub const fn sha384(&self) -> &Sha384 {
        &self.sha384
    }
}

/// A manifest could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignManifestError {
    /// It is impossible.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The key failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}
