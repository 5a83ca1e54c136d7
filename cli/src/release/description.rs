//! The description of a release, and the manifest that is made of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bartizan_attestation::boot::{
    self, Capability, Component, Hasher, Link, Manifest, Part, Phase, Sha384, Start,
};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::expand::{Expand, ExpandError, expand, is_dynamic};

/// A release as its maker describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    product: String,
    #[serde(deserialize_with = "part")]
    part: Part,
    version: u64,
    components: Vec<Described>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    name: String,
    #[serde(deserialize_with = "phase")]
    phase: Phase,
    /// Where it lies on the host; absent for what travels in the bundle.
    path: Option<PathBuf>,
    /// What is hashed; `path` if absent.
    file: Option<PathBuf>,
    /// Digests that are allowed beside the file's, or instead of it if there is none.
    #[serde(default)]
    sha384: Vec<String>,
    #[serde(default)]
    expand: Option<Expand>,
    start: Option<DescribedStart>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedStart {
    /// The phase at whose end it is started; its own if absent.
    #[serde(default, deserialize_with = "some_phase")]
    phase: Option<Phase>,
    user: String,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default, deserialize_with = "capabilities")]
    capabilities: Vec<Capability>,
    #[serde(default)]
    inherits: Vec<String>,
    #[serde(default)]
    environment: Vec<String>,
    #[serde(default)]
    link: Option<DescribedLink>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DescribedLink {
    Vault,
    Coordinator,
}

/// A description that no manifest can be made of.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// It is no description; the message has line and column.
    #[error("not a release description: {0}")]
    Malformed(#[from] serde_saphyr::Error),
    /// A component's file cannot be read.
    #[error("`{name}`: {path} cannot be read: {source}", path = .path.display())]
    File {
        /// Which component.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A component has neither file nor digest.
    #[error("`{0}` has neither a `path`, a `file` nor a `sha384`")]
    Nothing(String),
    /// A digest is none.
    #[error("`{name}`: {source}")]
    Digest {
        /// Which component.
        name: String,
        /// Why.
        source: boot::NoDigest,
    },
    /// What it is made of cannot be listed.
    #[error("`{name}`: {source}")]
    Expand {
        /// Which component.
        name: String,
        /// Why.
        source: ExpandError,
    },
    /// A program that would be executed with whatever libraries lie on the host.
    #[error(
        "`{0}` is linked dynamically: have its loader and its libraries measured, too, by `expand: libraries`"
    )]
    NotExpanded(String),
    /// A path is no UTF-8.
    #[error("{0:?} is no UTF-8")]
    Path(PathBuf),
}

impl Description {
    /// Reads a description.
    pub fn from_yaml(text: &str) -> Result<Self, DescriptionError> {
        Ok(serde_saphyr::from_str(text)?)
    }

    /// Hashes the files; answers the manifest, and the files that travel in a bundle.
    pub fn manifest(&self) -> Result<(Manifest, Vec<boot::File>), DescriptionError> {
        let (mut components, mut files) = (Vec::new(), Vec::new());
        for described in &self.components {
            let more = described.expanded()?;
            let (component, file) = described.component()?;
            // What a program needs is measured before the program that is started with it.
            for (name, path) in more {
                components.push(part_of(described, name, &path)?);
            }
            components.push(component);
            files.extend(file);
        }
        let manifest = Manifest {
            product: self.product.clone(),
            part: self.part,
            version: self.version,
            components,
        };
        Ok((manifest, files))
    }
}

impl Described {
    fn expanded(&self) -> Result<Vec<(String, PathBuf)>, DescriptionError> {
        let Some(path) = self.file.as_ref().or(self.path.as_ref()) else {
            return Ok(Vec::new());
        };
        let Some(how) = self.expand else {
            // Of one whose digest is given the file need not be here.
            let dynamic = is_dynamic(path).unwrap_or(false);
            return if dynamic {
                Err(DescriptionError::NotExpanded(self.name.clone()))
            } else {
                Ok(Vec::new())
            };
        };
        expand(how, &self.name, path).map_err(|source| DescriptionError::Expand {
            name: self.name.clone(),
            source,
        })
    }

    fn component(&self) -> Result<(Component, Option<boot::File>), DescriptionError> {
        let digest = |text: &String| {
            text.parse().map_err(|source| DescriptionError::Digest {
                name: self.name.clone(),
                source,
            })
        };
        let mut sha384: Vec<Sha384> = self.sha384.iter().map(digest).collect::<Result<_, _>>()?;
        let mut travels = None;
        match (self.file.as_ref().or(self.path.as_ref()), &self.path) {
            (Some(file), None) => {
                let contents = std::fs::read(file).map_err(failed(&self.name, file))?;
                sha384.push(Sha384::of(&contents));
                travels = Some(boot::File {
                    name: self.name.clone(),
                    contents: contents.into(),
                });
            }
            (Some(file), Some(_)) if sha384.is_empty() || self.file.is_some() => {
                sha384.push(hash(file).map_err(failed(&self.name, file))?);
            }
            (Some(_), Some(_)) => {}
            (None, _) => return Err(DescriptionError::Nothing(self.name.clone())),
        }
        let start = self.start.as_ref().map(|start| Start {
            phase: start.phase.unwrap_or(self.phase),
            user: start.user.clone(),
            arguments: start.arguments.clone(),
            capabilities: start.capabilities.clone(),
            inherits: start.inherits.clone(),
            environment: start.environment.clone(),
            link: start.link.map(|link| match link {
                DescribedLink::Vault => Link::Vault,
                DescribedLink::Coordinator => Link::Coordinator,
            }),
        });
        let component = Component {
            phase: self.phase,
            name: self.name.clone(),
            path: self.path.as_deref().map(utf8).transpose()?,
            sha384,
            start,
        };
        Ok((component, travels))
    }
}

/// A file that another component needs.
fn part_of(whole: &Described, name: String, path: &Path) -> Result<Component, DescriptionError> {
    Ok(Component {
        phase: whole.phase,
        sha384: vec![hash(path).map_err(failed(&name, path))?],
        name,
        path: Some(utf8(path)?),
        start: None,
    })
}

fn failed<'a>(name: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> DescriptionError + 'a {
    move |source| DescriptionError::File {
        name: name.into(),
        path: path.into(),
        source,
    }
}

fn utf8(path: &Path) -> Result<String, DescriptionError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| DescriptionError::Path(path.into()))
}

/// The digest of a file.
pub(super) fn hash(path: &Path) -> io::Result<Sha384> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn phase<'de, D: Deserializer<'de>>(from: D) -> Result<Phase, D::Error> {
    let name = String::deserialize(from)?;
    let names = "card, devices, coordinator, hypervisor or enclave";
    Phase::named(&name)
        .ok_or_else(|| D::Error::custom(format!("`{name}` is no phase; expected {names}")))
}

fn some_phase<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Phase>, D::Error> {
    phase(from).map(Some)
}

fn capabilities<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Capability>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let named = names.iter().map(|name| Capability::named(name));
    named.collect::<Result<_, _>>().map_err(D::Error::custom)
}

fn part<'de, D: Deserializer<'de>>(from: D) -> Result<Part, D::Error> {
    let name = String::deserialize(from)?;
    [Part::Base, Part::Bundle]
        .into_iter()
        .find(|part| part.name() == name)
        .ok_or_else(|| D::Error::custom(format!("`{name}` is no part; expected base or bundle")))
}
