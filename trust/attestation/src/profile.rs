//! Application profiles: the reference values against which a process in RAM is appraised.
//!
//! A profile is registered with the verifier under the application's name by an operator. The guest
//! only names the application; it cannot choose what proves it (design: memory attestation).
//!
//! For each ELF file that the process may map as code the profile holds, per hash algorithm, the digests
//! of its executable pages *as they must stand in RAM*. On Linux that is what the file holds: code is
//! mapped privately from the file in whole pages (`fs/binfmt_elf.c`, `elf_load`), position-independent
//! code is not relocated, and beyond the end of the file the last page is zero.

mod check;
mod document;

pub use check::ProfileError;
pub use document::{ProfileDocument, ProfiledFile, Reference, Segment, SpecialMappings};

use crate::digest;
use crate::measurement::{Digest, DigestKind, HashAlgorithm};

/// A profile that is known to be well-formed: every path, range and digest length was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApplicationProfile(ProfileDocument);

impl ApplicationProfile {
    /// Largest JSON that is read, in bytes.
    pub const MAX_JSON: usize = 64 << 20;
    /// Most pages that one profile may describe (512 MiB of code).
    pub const MAX_PAGES: u64 = 131_072;
    /// Most files in one profile.
    pub const MAX_FILES: usize = 1024;
    /// Most executable segments of one file.
    pub const MAX_SEGMENTS: usize = 64;

    /// Parses and checks the JSON form.
    pub fn from_json(json: &[u8]) -> Result<Self, ProfileError> {
        if json.len() > Self::MAX_JSON {
            return Err(ProfileError::TooLarge { size: json.len() });
        }
        serde_json::from_slice::<ProfileDocument>(json)?.try_into()
    }

    /// The JSON form: the same bytes for the same profile.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // INVARIANT: structs of strings, numbers and lists always have a JSON form.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// What the profile says.
    #[must_use]
    pub const fn document(&self) -> &ProfileDocument {
        &self.0
    }

    /// Names the very content of this profile in results: `urn:bartizan:profile:<application>:<SHA-256 of the JSON>`.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = digest::hash(HashAlgorithm::Sha256, &self.to_json());
        format!("urn:bartizan:profile:{}:{hash}", self.0.application)
    }

    /// The file at `path`, if the profile knows it.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&ProfiledFile> {
        self.0.files.iter().find(|file| file.path == path)
    }
}

impl Segment {
    /// Offset just behind the segment's last page, in bytes.
    #[must_use]
    pub const fn file_end(&self) -> u64 {
        self.file_offset
            .saturating_add(self.pages.saturating_mul(crate::measurement::PAGE_SIZE))
    }

    /// The reference digests of one algorithm.
    #[must_use]
    pub fn reference(&self, algorithm: HashAlgorithm) -> Option<&Reference> {
        self.references
            .iter()
            .find(|reference| reference.algorithm == algorithm)
    }
}

impl Reference {
    /// The reference digests of a segment that stands in RAM as `pages`; a page is 4096 bytes.
    #[must_use]
    pub fn of_pages<'a>(algorithm: HashAlgorithm, pages: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut flat = digest::Hasher::new(algorithm);
        let mut page_digests = Vec::new();
        for page in pages {
            flat.update(page);
            page_digests.extend_from_slice(&digest::hash(algorithm, page).0);
        }
        Self {
            algorithm,
            flat: flat.finish(),
            page_digests,
        }
    }

    /// Page digests of `count` pages from page `first` on, concatenated.
    #[must_use]
    pub fn page_digests(&self, first: u64, count: u64) -> Option<&[u8]> {
        let size = self.algorithm.digest_len();
        let start = usize::try_from(first).ok()?.checked_mul(size)?;
        let length = usize::try_from(count).ok()?.checked_mul(size)?;
        self.page_digests.get(start..start.checked_add(length)?)
    }

    /// What a region of `count` pages from page `first` on must hash to. `None` for a part of the
    /// segment under [`DigestKind::Flat`]: a flat digest cannot be cut.
    #[must_use]
    pub fn expected(&self, kind: DigestKind, first: u64, count: u64) -> Option<Digest> {
        let part = self.page_digests(first, count)?;
        match kind {
            DigestKind::Tree => Some(digest::tree_root(self.algorithm, part)),
            DigestKind::Flat if part.len() == self.page_digests.len() => Some(self.flat.clone()),
            DigestKind::Flat => None,
        }
    }
}

#[cfg(test)]
mod tests;
