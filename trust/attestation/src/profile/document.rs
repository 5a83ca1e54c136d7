//! The JSON form of a profile.

use serde::{Deserialize, Serialize};

use super::ApplicationProfile;
use crate::measurement::{Digest, HashAlgorithm};
use crate::text;

/// A profile before it is checked; becomes an [`ApplicationProfile`] by `try_from`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileDocument {
    /// Always [`ProfileDocument::VERSION`].
    pub version: u32,
    /// The registered name: 1 to 128 of `A-Z`, `a-z`, `0-9`, `.`, `_`, `-`; starts with a letter or digit.
    pub application: String,
    /// Path of the executable as the guest's kernel reports it: absolute, symbolic links resolved.
    pub executable: String,
    /// Files that must be mapped completely; the executable is one of them.
    #[serde(deserialize_with = "text::at_most::<{ ApplicationProfile::MAX_FILES }, _, _>")]
    pub required: Vec<String>,
    /// Algorithms for which every segment has reference digests.
    #[serde(with = "text::display_list")]
    pub algorithms: Vec<HashAlgorithm>,
    /// Whether results may name the single pages that differ.
    pub allow_page_digests: bool,
    /// What to make of the kernel's own executable mapping.
    pub special_mappings: SpecialMappings,
    /// Every file that may be mapped as code.
    #[serde(deserialize_with = "text::at_most::<{ ApplicationProfile::MAX_FILES }, _, _>")]
    pub files: Vec<ProfiledFile>,
}

impl ProfileDocument {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;
}

/// What to make of `[vdso]`, the code page that the kernel maps into every process.
///
/// It comes from the kernel, not from a file, and is patched at boot for the CPU at hand, so that a package
/// cannot tell what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpecialMappings {
    /// A process that has one is not affirmed.
    Refuse,
    /// One is allowed; its content is not appraised, which the result says.
    Unappraised,
}

/// One file that may be mapped as code.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfiledFile {
    /// Path as the guest's kernel reports it: absolute, symbolic links resolved.
    pub path: String,
    /// SHA-256 of the whole file: for people and package databases; appraisal looks at the segments.
    #[serde(with = "text::hex_bytes")]
    pub sha256: Digest,
    /// Its executable segments in the order of file offsets, not overlapping.
    #[serde(deserialize_with = "text::at_most::<{ ApplicationProfile::MAX_SEGMENTS }, _, _>")]
    pub segments: Vec<Segment>,
}

/// An executable segment (`PT_LOAD` with `PF_X`) in whole pages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Offset of its first page in the file, in bytes; a multiple of 4096.
    pub file_offset: u64,
    /// How many pages of 4096 bytes.
    pub pages: u64,
    /// The reference digests, one entry for each of the profile's algorithms, in that order.
    #[serde(deserialize_with = "text::at_most::<{ HashAlgorithm::ALL.len() }, _, _>")]
    pub references: Vec<Reference>,
}

/// Reference digests of one segment by one algorithm. The tree digest follows from the page digests.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The algorithm.
    #[serde(with = "text::display")]
    pub algorithm: HashAlgorithm,
    /// Hash over all bytes of the segment's pages.
    #[serde(with = "text::hex_bytes")]
    pub flat: Digest,
    /// Hash of each page, concatenated; base64url without padding.
    #[serde(rename = "pages", with = "text::base64url")]
    pub page_digests: Vec<u8>,
}
