//! Building application profiles from what a distribution ships: ELF files and Debian packages.
//!
//! ```text
//! .deb ─┐                                   DT_NEEDED, PT_INTERP, transitively
//! .deb ─┼─► Packages (paths, links, ELF) ──────────────────────────────────────► files ─► profile
//! ELF  ─┘    bounded, nothing is written                                 PF_X segments, page digests
//! ```
//!
//! Everything read here is foreign: sizes, counts and link chains are bounded, nothing is unpacked to disk.

mod archive;
mod decompress;
mod elf;
mod libraries;
mod packages;
mod segments;

pub use archive::ArchiveError;
pub use elf::{CodeSegment, Elf, ElfError};
pub use packages::{PackageError, Packages};

use bartizan_attestation::measurement::HashAlgorithm;
use bartizan_attestation::profile::{
    ApplicationProfile, ProfileDocument, ProfileError, SpecialMappings,
};

/// What a profile shall say beside its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProfileOptions {
    /// The registered name.
    pub application: String,
    /// Algorithms to make reference digests with.
    pub algorithms: Vec<HashAlgorithm>,
    /// Whether results may name the single pages that differ.
    pub allow_page_digests: bool,
    /// What to make of `[vdso]`.
    pub special_mappings: SpecialMappings,
}

/// Gathers the files of an application.
#[derive(Clone, Debug)]
pub struct ProfileBuilder {
    executable: String,
    plugins: Vec<String>,
    packages: Packages,
}

/// A profile could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A package could not be read, or a path is not in any.
    #[error("{0}")]
    Package(#[from] PackageError),
    /// A file is no program or library that can be profiled.
    #[error("`{path}` cannot be profiled: {error}")]
    Elf {
        /// Its path in the guest.
        path: String,
        /// Why.
        error: ElfError,
    },
    /// A library or interpreter that a file needs is in none of the packages.
    #[error(
        "`{needed}`, which `{by}` needs, is in none of the given packages; add the one that ships it"
    )]
    MissingLibrary {
        /// What lacks: a `DT_NEEDED` name or an interpreter's path.
        needed: String,
        /// The file that needs it.
        by: String,
    },
    /// More files than a profile holds.
    #[error(
        "the application needs more than {} files",
        ApplicationProfile::MAX_FILES
    )]
    TooManyFiles,
    /// The outcome breaks a rule of profiles.
    #[error("{0}")]
    Profile(#[from] ProfileError),
}

impl ProfileOptions {
    /// The defaults: SHA-256 and SHA-384, differing pages are named, `[vdso]` is allowed unappraised.
    #[must_use]
    pub fn new(application: &str) -> Self {
        Self {
            application: application.into(),
            algorithms: vec![HashAlgorithm::Sha256, HashAlgorithm::Sha384],
            allow_page_digests: true,
            special_mappings: SpecialMappings::Unappraised,
        }
    }
}

impl ProfileBuilder {
    /// Begins with one executable that will stand at `path` in the guest.
    pub fn from_elf(path: &str, bytes: &[u8]) -> Result<Self, BuildError> {
        let mut packages = Packages::default();
        packages.add_file(path, bytes)?;
        Ok(Self {
            executable: path.into(),
            plugins: Vec::new(),
            packages,
        })
    }

    /// Begins with the executable that a Debian package (`.deb`) installs at `path`.
    pub fn from_deb(deb: &[u8], path: &str) -> Result<Self, BuildError> {
        let mut packages = Packages::default();
        packages.add_deb(deb)?;
        packages.resolve(path)?;
        Ok(Self {
            executable: path.into(),
            plugins: Vec::new(),
            packages,
        })
    }

    /// Adds Debian packages in which libraries, the interpreter and plugins are looked for.
    pub fn with_libraries<'d>(
        mut self,
        debs: impl IntoIterator<Item = &'d [u8]>,
    ) -> Result<Self, BuildError> {
        for deb in debs {
            self.packages.add_deb(deb)?;
        }
        Ok(self)
    }

    /// Adds a loose file in which a library may be found; `path` is the one that symbolic links lead to.
    pub fn with_file(mut self, path: &str, bytes: &[u8]) -> Result<Self, BuildError> {
        self.packages.add_file(path, bytes)?;
        Ok(self)
    }

    /// Adds a loose symbolic link.
    pub fn with_link(mut self, path: &str, target: &str) -> Result<Self, BuildError> {
        self.packages.add_link(path, target)?;
        Ok(self)
    }

    /// Names a file that the application may load by itself (`dlopen`): allowed with the libraries that it
    /// needs, but not required.
    #[must_use]
    pub fn with_plugin(mut self, path: &str) -> Self {
        self.plugins.push(path.into());
        self
    }

    /// Resolves all libraries and hashes all code.
    pub fn build(&self, options: &ProfileOptions) -> Result<ApplicationProfile, BuildError> {
        let closure = libraries::resolve(&self.packages, &self.executable, &self.plugins)?;
        let mut files = Vec::new();
        for path in &closure.files {
            let bytes = self.packages.bytes(path)?;
            let profiled = segments::profiled_file(path, bytes, &options.algorithms);
            let file = profiled.map_err(|error| BuildError::Elf {
                path: path.clone(),
                error,
            })?;
            // A library of nothing but data is never mapped as code.
            if !file.segments.is_empty() {
                files.push(file);
            }
        }
        let has_code = |path: &String| files.iter().any(|file| file.path == *path);
        let required = closure.required.into_iter().filter(has_code).collect();
        Ok(ProfileDocument {
            version: ProfileDocument::VERSION,
            application: options.application.clone(),
            executable: closure.executable,
            required,
            algorithms: options.algorithms.clone(),
            allow_page_digests: options.allow_page_digests,
            special_mappings: options.special_mappings,
            files,
        }
        .try_into()?)
    }
}

#[cfg(test)]
mod tests;
