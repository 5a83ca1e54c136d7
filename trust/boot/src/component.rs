//! One file of a release: what it may be, and how it is started if it is a program.

use minicbor::{Decode, Decoder, Encode};

use crate::{Capability, Phase, Sha384};

/// A file that is measured.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Component {
    /// In which phase.
    #[n(0)]
    pub phase: Phase,
    /// Its name, another's in no phase: letters, digits, `.`, `_`, `-`, `+`, `/`.
    #[n(1)]
    pub name: String,
    /// Where it lies, absolute; `None` for what travels in the bundle.
    #[n(2)]
    pub path: Option<String>,
    /// The digests that it may have; one of a configuration for each kind of host.
    #[cbor(n(3), decode_with = "at_most_digests")]
    pub sha384: Vec<Sha384>,
    /// How it is started, if it is a program that the launcher starts.
    #[n(4)]
    pub start: Option<Start>,
}

/// How a program is started.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Start {
    /// At the end of which phase: its own or a later one of the same part.
    #[n(0)]
    pub phase: Phase,
    /// The user that it runs as, by name. Its group is that user's.
    #[n(1)]
    pub user: String,
    /// Its arguments. `{NAME}` stands for the path of that component, as it was measured.
    #[cbor(n(2), decode_with = "at_most_texts")]
    pub arguments: Vec<String>,
    /// The capabilities that it keeps.
    #[cbor(n(3), decode_with = "at_most_capabilities")]
    pub capabilities: Vec<Capability>,
    /// Components whose descriptors it is handed beside those of its arguments: a name, or all that begin with `NAME/`. A
    /// bundle's may be of the base.
    #[cbor(n(4), decode_with = "at_most_texts")]
    pub inherits: Vec<String>,
    /// The link to the launcher that it is given.
    #[n(5)]
    pub link: Option<Link>,
    /// What it is told in its environment beside what all are told: `NAME=VALUE`.
    #[cbor(n(6), decode_with = "at_most_texts")]
    pub environment: Vec<String>,
}

/// What a program may say to the launcher, or hear of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Link {
    /// The vault: is told each event before anything else happens. Started as soon as it is measured.
    #[n(0)]
    Vault,
    /// A stage of the coordinator: says when the boot goes on.
    #[n(1)]
    Coordinator,
}

/// A component that cannot be one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ComponentError {
    /// The name is no name.
    #[error("`{0}` is no name of a component: 1 to {MAX_NAME} letters, digits and ._-+/")]
    Name(String),
    /// There are two of that name.
    #[error("there are two components `{0}`")]
    Doubled(String),
    /// Its path is relative, or too long.
    #[error("the path of `{0}` must be absolute and have at most {MAX_TEXT} bytes")]
    Path(String),
    /// It has no path, and is of the base.
    #[error("`{0}` has no path; only what is of the bundle may travel in it")]
    NoPath(String),
    /// No digest is allowed.
    #[error("no digest is allowed for `{0}`")]
    NoDigest(String),
    /// It is started before its phase, or in another part's.
    #[error("`{name}` is measured in phase {measured} and cannot be started in phase {started}")]
    StartPhase {
        /// Which.
        name: String,
        /// Its phase.
        measured: Phase,
        /// The phase of its start.
        started: Phase,
    },
    /// An argument names a component that is not measured before the start, or of `inherits` a name nothing that is.
    #[error("`{name}` is started with `{missing}`, which is not measured by then")]
    Missing {
        /// Which is started.
        name: String,
        /// What is not there.
        missing: String,
    },
    /// A text is too long, or holds what no argument can.
    #[error(
        "`{0}` is started with an argument, user, variable or inherited name of more than {MAX_TEXT} bytes, or with a zero byte in it"
    )]
    Text(String),
}

/// Longest name in bytes.
const MAX_NAME: usize = 128;
/// Longest path or argument in bytes.
const MAX_TEXT: usize = 4096;
/// Most digests of one component.
const MAX_DIGESTS: u64 = 64;
/// Most arguments, capabilities, inherited components.
const MAX_TEXTS: u64 = 64;

fn at_most_digests<C>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<Sha384>, minicbor::decode::Error> {
    bartizan_cose::cbor::at_most::<MAX_DIGESTS, C, Sha384>(from, context)
}

fn at_most_texts<C>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<String>, minicbor::decode::Error> {
    bartizan_cose::cbor::at_most::<MAX_TEXTS, C, String>(from, context)
}

fn at_most_capabilities<C>(
    from: &mut Decoder<'_>,
    context: &mut C,
) -> Result<Vec<Capability>, minicbor::decode::Error> {
    bartizan_cose::cbor::at_most::<MAX_TEXTS, C, Capability>(from, context)
}

impl Component {
    /// Checks it by itself.
    pub(crate) fn check(&self) -> Result<(), ComponentError> {
        let name = || self.name.clone();
        let letter = |c: char| c.is_ascii_alphanumeric() || "._-+/".contains(c);
        if !(1..=MAX_NAME).contains(&self.name.len()) || !self.name.chars().all(letter) {
            let shown = self.name.chars().take(MAX_NAME).collect();
            return Err(ComponentError::Name(shown));
        }
        match &self.path {
            Some(path) if !path.starts_with('/') || !is_text(path) => {
                return Err(ComponentError::Path(name()));
            }
            None if self.phase != Phase::Coordinator => return Err(ComponentError::NoPath(name())),
            _ => {}
        }
        if self.sha384.is_empty() || self.sha384.len() as u64 > MAX_DIGESTS {
            return Err(ComponentError::NoDigest(name()));
        }
        if let Some(start) = &self.start {
            if start.phase < self.phase || start.phase.part() != self.phase.part() {
                return Err(ComponentError::StartPhase {
                    name: name(),
                    measured: self.phase,
                    started: start.phase,
                });
            }
            let texts = [&start.arguments, &start.inherits, &start.environment];
            let fit = texts.iter().all(|texts| {
                texts.len() as u64 <= MAX_TEXTS && texts.iter().all(|text| is_text(text))
            }) && start.capabilities.len() as u64 <= MAX_TEXTS;
            let variables = start.variables().count() == start.environment.len();
            if !fit || !variables || start.user.is_empty() || !is_text(&start.user) {
                return Err(ComponentError::Text(name()));
            }
        }
        Ok(())
    }

    /// Whether a digest is allowed.
    #[must_use]
    pub fn allows(&self, digest: &Sha384) -> bool {
        self.sha384.contains(digest)
    }
}

impl Start {
    /// The components that its arguments name.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.arguments
            .iter()
            .filter_map(|argument| placeholder(argument))
    }

    /// The variables of its environment, and their values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = |text: &&str| !text.is_empty();
        self.environment
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .filter(move |(name, _)| named(name))
    }

    /// Whether a component's descriptor is handed to it.
    #[must_use]
    pub fn inherits(&self, component: &str) -> bool {
        self.named().any(|name| name == component)
            || self.inherits.iter().any(|name| covers(name, component))
    }
}

/// Whether a name in `inherits` stands for that component.
pub(crate) fn covers(name: &str, component: &str) -> bool {
    let rest = component.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The component that an argument stands for.
pub fn placeholder(argument: &str) -> Option<&str> {
    argument.strip_prefix('{')?.strip_suffix('}')
}

fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.contains('\0')
}
