//! Reading the YAML.

use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};

use super::{Boot, LaunchRecord, LaunchRecordError, Machine};

/// Longest record in bytes. Less than a signed message of its type may have: room for the chain.
const MAX_RECORD: usize = 128 << 10;

impl LaunchRecord {
    /// The version that this crate speaks.
    pub const VERSION: u32 = 1;

    /// Reads a record; every field is in its range and consistent with the others afterwards.
    ///
    /// One document, no aliases, anchors, merge keys, duplicate or unknown keys, and little depth:
    /// what was signed is what one reads, and a hostile record costs no more than its length.
    pub fn parse(yaml: &str) -> Result<Self, LaunchRecordError> {
        if yaml.len() > MAX_RECORD {
            return Err(LaunchRecordError::TooLarge {
                size: yaml.len(),
                limit: MAX_RECORD,
            });
        }
        let record: Self =
            serde_saphyr::from_str_with_options(yaml, options()).map_err(|error| at(&error))?;
        if let Some(network) = &record.network {
            network.check()?;
        }
        match (&record.boot, record.machine) {
            (Boot::Firmware { .. }, Machine::Microvm) => Err(LaunchRecordError::FirmwareOnMicrovm),
            (Boot::Firmware { .. }, _) if record.disks.is_empty() => {
                Err(LaunchRecordError::FirmwareWithoutDisk)
            }
            _ => Ok(record),
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4096,
            max_nodes: 2048,
            max_aliases: 0,
            max_anchors: 0,
            max_depth: 8,
            flow_nesting_limit: 8,
            max_documents: 1,
            max_inclusion_depth: 0,
            max_merge_keys: 0,
            max_total_scalar_bytes: MAX_RECORD,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
    }
}

fn at(error: &serde_saphyr::Error) -> LaunchRecordError {
    let (line, column) = error
        .location()
        .map_or((0, 0), |at| (at.line(), at.column()));
    // Without the snippet: it would quote the record at length, line and column are given anyway.
    let problem = error.without_snippet().to_string();
    LaunchRecordError::Yaml {
        line,
        column,
        problem,
    }
}
