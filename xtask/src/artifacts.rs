//! Things that are made once and kept: guest images, kernels. Each is keyed by its recipe, so that a
//! changed recipe makes it anew and an unchanged one costs nothing.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh;

/// The folder of an artefact: made by `make` unless the same recipe made it before.
///
/// `make` fills a scratch folder that is renamed into place at the end: a half-made artefact never counts.
pub(crate) fn ensure(
    name: &str,
    recipe: &impl Hash,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let (store, folder) = place(name, recipe);
    if folder.is_dir() {
        return Ok(folder);
    }
    let scratch = store.join(format!("{name}.partial"));
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    fs::create_dir_all(&scratch)?;
    make(&scratch)?;
    fs::rename(&scratch, &folder)
        .with_context(|| format!("could not keep {}", folder.display()))?;
    Ok(folder)
}

/// The folder of an artefact, if this recipe made it before.
pub(crate) fn made(name: &str, recipe: &impl Hash) -> Option<PathBuf> {
    let (_, folder) = place(name, recipe);
    folder.is_dir().then_some(folder)
}

/// Where artefacts are, and the one of this recipe.
fn place(name: &str, recipe: &impl Hash) -> (PathBuf, PathBuf) {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let store = sh::root().join("target/artifacts");
    let folder = store.join(format!("{name}-{:016x}", hasher.finish()));
    (store, folder)
}
