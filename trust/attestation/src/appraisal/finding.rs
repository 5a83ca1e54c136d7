//! What speaks against a report, in words and as data.

use serde::{Deserialize, Serialize};

use super::MAX_FINDINGS;
use crate::measurement::HashAlgorithm;
use crate::text;

/// Most bytes of a string of the guest's that are quoted in a finding or result.
pub const MAX_QUOTED: usize = 256;

/// One reason why a report is not affirmed. Addresses are virtual, offsets and sizes in bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Finding {
    /// No profile is registered for the application.
    #[error(
        "no profile is registered for this application; register one with `bartizan profile add`"
    )]
    NoProfile,
    /// The request was for regions of the guest's choice.
    #[error("the request chose its own regions; only the profile's target can be affirmed")]
    NotTheProfile,
    /// The profile has no reference digests of the request's algorithm.
    #[error("the profile has no reference digests by {algorithm}")]
    NoReferences {
        /// The algorithm.
        #[serde(with = "text::display")]
        algorithm: HashAlgorithm,
    },
    /// The guest expected another digest.
    #[error("the measured digest differs from the one that the guest expects")]
    ExpectedDigestDiffers,
    /// The process runs another program.
    #[error("process {pid} runs `{found}`, the profile is of `{expected}`")]
    WrongExecutable {
        /// The process.
        pid: u32,
        /// The profile's executable.
        expected: String,
        /// The process's.
        found: String,
    },
    /// Executable memory without a file behind it.
    #[error("process {pid} has anonymous executable memory at {address:#x}+{size:#x}")]
    AnonymousExecutable {
        /// The process.
        pid: u32,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
        /// How much.
        #[serde(with = "text::hex_u64")]
        size: u64,
    },
    /// Memory that is writable and executable at once.
    #[error("process {pid} has writable executable memory at {address:#x}+{size:#x}")]
    WritableExecutable {
        /// The process.
        pid: u32,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
        /// How much.
        #[serde(with = "text::hex_u64")]
        size: u64,
    },
    /// A shared mapping: whoever can write the file changes the code.
    #[error("process {pid} has a shared executable mapping of `{path}` at {address:#x}")]
    SharedExecutable {
        /// The process.
        pid: u32,
        /// The file; empty where there is none.
        path: String,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
    },
    /// A file that the profile does not know.
    #[error("`{path}`, executable in process {pid} at {address:#x}, is not in the profile")]
    UnknownFile {
        /// The process.
        pid: u32,
        /// The file.
        path: String,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
    },
    /// A part of a known file that is no executable segment of it.
    #[error(
        "`{path}` at {file_offset:#x}+{size:#x}, executable in process {pid} at {address:#x}, is no segment of code in the profile"
    )]
    UnknownSegment {
        /// The process.
        pid: u32,
        /// The file.
        path: String,
        /// Offset in the file.
        #[serde(with = "text::hex_u64")]
        file_offset: u64,
        /// How much.
        #[serde(with = "text::hex_u64")]
        size: u64,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
    },
    /// A mapping differs from its reference; its pages were not in the report or may not be named.
    #[error(
        "the code of `{path}` at {file_offset:#x}+{size:#x}, mapped in process {pid} at {address:#x}, was changed"
    )]
    CodeDiffers {
        /// The process.
        pid: u32,
        /// The file.
        path: String,
        /// Offset in the file.
        #[serde(with = "text::hex_u64")]
        file_offset: u64,
        /// How much.
        #[serde(with = "text::hex_u64")]
        size: u64,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
    },
    /// One page differs from its reference.
    #[error(
        "the page of `{path}` at {file_offset:#x}, mapped in process {pid} at {address:#x}, was changed"
    )]
    PageDiffers {
        /// The process.
        pid: u32,
        /// The file.
        path: String,
        /// Offset of the page in the file.
        #[serde(with = "text::hex_u64")]
        file_offset: u64,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
    },
    /// A part of a segment cannot be compared by a flat digest without page digests.
    #[error(
        "the mapping of `{path}` in process {pid} at {address:#x} is a part of its segment; ask for the digest kind `tree` or for page digests"
    )]
    PartNotComparable {
        /// The process.
        pid: u32,
        /// The file.
        path: String,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
    },
    /// A segment is mapped twice, or its parts lie apart: a decoy.
    #[error(
        "the code of `{path}` at {file_offset:#x} is mapped again in process {pid} at {address:#x}"
    )]
    MappedAgain {
        /// The process.
        pid: u32,
        /// The file.
        path: String,
        /// Offset in the file.
        #[serde(with = "text::hex_u64")]
        file_offset: u64,
        /// Where the second one is.
        #[serde(with = "text::hex_u64")]
        address: u64,
    },
    /// A required segment is not, or not completely, mapped as code.
    #[error(
        "the code of `{path}` at {file_offset:#x} is required, but not mapped completely in process {pid}"
    )]
    MissingMapping {
        /// The process.
        pid: u32,
        /// The file.
        path: String,
        /// Offset of the segment in the file.
        #[serde(with = "text::hex_u64")]
        file_offset: u64,
    },
    /// A special mapping where the profile allows none (or no second one, or none backed by a file).
    #[error("the profile does not allow the special mapping of process {pid} at {address:#x}")]
    SpecialMapping {
        /// The process.
        pid: u32,
        /// Where.
        #[serde(with = "text::hex_u64")]
        address: u64,
    },
}

impl Finding {
    pub(super) fn wrong_executable(pid: u32, expected: &str, found: &str) -> Self {
        Self::WrongExecutable {
            pid,
            expected: quoted(expected),
            found: quoted(found),
        }
    }
}

/// A string of the guest's as it may appear in results and logs: bounded, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut end = text.len().min(MAX_QUOTED);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// Findings as they are gathered: a hostile guest can cause millions, so only the first are kept.
#[derive(Default, Debug)]
pub(super) struct Findings {
    named: Vec<Finding>,
    omitted: u64,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        if self.named.len() < MAX_FINDINGS {
            self.named.push(finding);
        } else {
            self.omitted += 1;
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    pub(super) fn into_parts(self) -> (Vec<Finding>, u64) {
        (self.named, self.omitted)
    }
}
