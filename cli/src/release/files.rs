//! Whether the files of a machine are those of a release.

use std::io;
use std::path::Path;

use bartizan_attestation::boot::{Manifest, Sha384};

use super::description::hash;

/// A file that would stop the boot.
#[derive(Debug)]
pub struct Difference {
    /// Which component.
    pub name: String,
    /// Its path.
    pub path: String,
    /// What is allowed.
    pub expected: Vec<Sha384>,
    /// What is there.
    pub found: Result<Sha384, io::Error>,
}

/// Every component with a path whose file is another than the release allows.
#[must_use]
pub fn differences(manifest: &Manifest) -> Vec<Difference> {
    let with_path = manifest
        .components
        .iter()
        .filter_map(|component| Some((component, component.path.as_ref()?)));
    with_path
        .filter_map(|(component, path)| {
            let found = hash(Path::new(path));
            let allowed = found.as_ref().is_ok_and(|found| component.allows(found));
            (!allowed).then(|| Difference {
                name: component.name.clone(),
                path: path.clone(),
                expected: component.sha384.clone(),
                found,
            })
        })
        .collect()
}
