//! From a document to a profile: every rule that a profile keeps, in one place.

use std::collections::BTreeSet;

use super::{ApplicationProfile, ProfileDocument, ProfiledFile, Segment};
use crate::measurement::{HashAlgorithm, MeasurementRequest, PAGE_SIZE};

/// A document that is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Larger than [`ApplicationProfile::MAX_JSON`].
    #[error(
        "the profile has {size} bytes, the limit is {}",
        ApplicationProfile::MAX_JSON
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Not JSON, or not of a profile's shape.
    #[error("the profile is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A version that this program does not speak.
    #[error("profile version {found} is unknown; build it anew with this program's version")]
    Version {
        /// The version found.
        found: u32,
    },
    /// The application's name has other characters, or too many.
    #[error(
        "`{name}` is no application name: use 1 to 128 of A-Z a-z 0-9 . _ -, a letter or digit first"
    )]
    Application {
        /// The name found.
        name: String,
    },
    /// A path is not absolute and plain.
    #[error("`{path}` is not a resolved absolute path")]
    Path {
        /// The path found.
        path: String,
    },
    /// No algorithm, or one twice.
    #[error("the profile must name each of its hash algorithms once, and at least one")]
    Algorithms,
    /// No file, or too many.
    #[error(
        "a profile holds 1 to {} files, not {count}",
        ApplicationProfile::MAX_FILES
    )]
    FileCount {
        /// How many were found.
        count: usize,
    },
    /// The same path twice among files or required paths.
    #[error("`{path}` is there twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// A required path, or the executable, is not among the files.
    #[error("`{path}` is required, but is not among the profile's files")]
    UnknownRequired {
        /// The path.
        path: String,
    },
    /// The executable is not among the required paths.
    #[error("the executable must be among the required files")]
    ExecutableNotRequired,
    /// A file's SHA-256 has the wrong length.
    #[error("the SHA-256 of `{path}` is not 32 bytes long")]
    FileDigest {
        /// The file.
        path: String,
    },
    /// No segment, too many, unaligned, empty, overlapping, out of order or wrapping.
    #[error(
        "the segments of `{path}` must be 1 to {}, page-aligned, not empty, in order and apart",
        ApplicationProfile::MAX_SEGMENTS
    )]
    Segments {
        /// The file.
        path: String,
    },
    /// More pages in all than [`ApplicationProfile::MAX_PAGES`].
    #[error(
        "the profile describes more than {} pages of code",
        ApplicationProfile::MAX_PAGES
    )]
    Pages,
    /// A segment's references are not one of each algorithm with digests of the right length.
    #[error(
        "the reference digests of `{path}` at {file_offset:#x} do not fit its pages and the profile's algorithms"
    )]
    References {
        /// The file.
        path: String,
        /// The segment's offset in bytes.
        file_offset: u64,
    },
}

impl TryFrom<ProfileDocument> for ApplicationProfile {
    type Error = ProfileError;

    fn try_from(document: ProfileDocument) -> Result<Self, ProfileError> {
        if document.version != ProfileDocument::VERSION {
            return Err(ProfileError::Version {
                found: document.version,
            });
        }
        application(&document.application)?;
        let algorithms: BTreeSet<_> = document.algorithms.iter().collect();
        if algorithms.is_empty() || algorithms.len() != document.algorithms.len() {
            return Err(ProfileError::Algorithms);
        }
        let paths = files(&document)?;
        let required = distinct(document.required.iter())?;
        if let Some(path) = required.iter().find(|path| !paths.contains(**path)) {
            return Err(ProfileError::UnknownRequired {
                path: (*path).into(),
            });
        }
        if !required.contains(document.executable.as_str()) {
            return Err(ProfileError::ExecutableNotRequired);
        }
        Ok(Self(document))
    }
}

fn application(name: &str) -> Result<(), ProfileError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = name.len() <= MeasurementRequest::MAX_APPLICATION
        && name.bytes().all(plain)
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric());
    if fits {
        Ok(())
    } else {
        Err(ProfileError::Application { name: name.into() })
    }
}

/// Checks every file; their paths.
fn files(document: &ProfileDocument) -> Result<BTreeSet<&str>, ProfileError> {
    let count = document.files.len();
    if count == 0 || count > ApplicationProfile::MAX_FILES {
        return Err(ProfileError::FileCount { count });
    }
    let mut pages = 0_u64;
    for file in &document.files {
        path(&file.path)?;
        if file.sha256.0.len() != HashAlgorithm::Sha256.digest_len() {
            return Err(ProfileError::FileDigest {
                path: file.path.clone(),
            });
        }
        segments(file, &document.algorithms)?;
        for segment in &file.segments {
            pages = pages.saturating_add(segment.pages);
        }
        if pages > ApplicationProfile::MAX_PAGES {
            return Err(ProfileError::Pages);
        }
    }
    distinct(document.files.iter().map(|file| &file.path))
}

fn path(path: &str) -> Result<(), ProfileError> {
    let plain_part = |part: &str| !matches!(part, "" | "." | "..");
    let fits = path.len() <= 4096
        && !path.chars().any(char::is_control)
        && path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(plain_part));
    if fits {
        Ok(())
    } else {
        Err(ProfileError::Path { path: path.into() })
    }
}

fn segments(file: &ProfiledFile, algorithms: &[HashAlgorithm]) -> Result<(), ProfileError> {
    let wrong = || ProfileError::Segments {
        path: file.path.clone(),
    };
    if file.segments.is_empty() || file.segments.len() > ApplicationProfile::MAX_SEGMENTS {
        return Err(wrong());
    }
    let mut free_from = 0;
    for segment in &file.segments {
        let size = segment
            .pages
            .checked_mul(PAGE_SIZE)
            .filter(|size| *size > 0);
        let end = size.and_then(|size| segment.file_offset.checked_add(size));
        if !segment.file_offset.is_multiple_of(PAGE_SIZE) || segment.file_offset < free_from {
            return Err(wrong());
        }
        free_from = end.ok_or_else(wrong)?;
        if !references_fit(segment, algorithms) {
            return Err(ProfileError::References {
                path: file.path.clone(),
                file_offset: segment.file_offset,
            });
        }
    }
    Ok(())
}

fn references_fit(segment: &Segment, algorithms: &[HashAlgorithm]) -> bool {
    segment.references.len() == algorithms.len()
        && segment
            .references
            .iter()
            .zip(algorithms)
            .all(|(reference, algorithm)| {
                let pages = (reference.page_digests.len() / algorithm.digest_len()) as u64;
                reference.algorithm == *algorithm
                    && reference.flat.0.len() == algorithm.digest_len()
                    && reference
                        .page_digests
                        .len()
                        .is_multiple_of(algorithm.digest_len())
                    && pages == segment.pages
            })
}

fn distinct<'a>(
    paths: impl Iterator<Item = &'a String>,
) -> Result<BTreeSet<&'a str>, ProfileError> {
    let mut seen = BTreeSet::new();
    for path in paths {
        if !seen.insert(path.as_str()) {
            return Err(ProfileError::Duplicate { path: path.clone() });
        }
    }
    Ok(seen)
}
