//! What each field of a launch record may hold. Checked while the YAML is read, so that an error
//! comes with the line and column of the value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, PathBuf};

use serde::de::{Deserialize, Deserializer, Error};
use uuid::Uuid;

/// Linux keeps 2048 bytes of command line on x86 (`COMMAND_LINE_SIZE`), one of them for the end;
/// the anchor that is appended takes 81.
const MAX_COMMAND_LINE: usize = 2048 - 1 - 81;
const MAX_PATH: usize = 1024;
const MAX_LABELS: usize = 64;
const MAX_LABEL: usize = 256;

/// The parameter by which the guest's SDK is told its anchor; only the hypervisor may set it.
const ANCHOR: &str = "bartizan.anchor";

pub(super) fn version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    checked(from, "1", |version| {
        *version == super::LaunchRecord::VERSION
    })
}

pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    checked(from, "1 to 63 of a-z, 0-9, `-`", |name: &String| {
        is_name(name)
    })
}

pub(super) fn uuid<'de, D: Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
    checked(
        from,
        "a UUID that is not nil (make one with `uuidgen`)",
        |uuid: &Uuid| !uuid.is_nil(),
    )
}

pub(super) fn labels<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    checked(
        from,
        "at most 64 labels; keys 1 to 63 of a-z, 0-9, `-`, values up to 256 printable characters",
        |labels: &BTreeMap<String, String>| {
            labels.len() <= MAX_LABELS
                && labels.iter().all(|(key, value)| {
                    is_name(key) && value.len() <= MAX_LABEL && !value.contains(char::is_control)
                })
        },
    )
}

pub(super) fn cpus<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    checked(from, "1 to 64", |cpus| (1..=64).contains(cpus))
}

pub(super) fn memory_mib<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    checked(from, "64 to 1048576 MiB", |mib| {
        (64..=1 << 20).contains(mib)
    })
}

/// No characters that could end the model's option string or begin another option.
pub(super) fn cpu_model<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(
        from,
        "a CPU model of letters, digits and `_.,=+-`",
        |model: &Option<String>| {
            model.as_deref().is_none_or(|model| {
                (1..=256).contains(&model.len())
                    && model.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && model
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"_.,=+-".contains(&b))
            })
        },
    )
}

pub(super) fn command_line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    checked(
        from,
        "at most 1966 printable ASCII characters without `bartizan.anchor`, which is added at launch",
        |line: &String| {
            line.len() <= MAX_COMMAND_LINE
                && line.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
                && !line.contains(ANCHOR)
        },
    )
}

/// Absolute and plain. Commas would need quoting in QEMU's options: better none than one forgotten.
pub(super) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    checked(
        from,
        "an absolute path without `..`, commas or control characters",
        |path: &PathBuf| {
            path.is_absolute()
                && path
                    .components()
                    .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
                && path.to_str().is_some_and(|text| {
                    text.len() <= MAX_PATH && !text.contains(|c: char| c == ',' || c.is_control())
                })
        },
    )
}

pub(super) fn sha256<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    checked(
        from,
        "a SHA-256 as 64 lower-case hexadecimal digits",
        |hex: &String| is_hex(hex, 64),
    )
}

pub(super) fn sha384<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    checked(
        from,
        "a SHA-384 as 96 lower-case hexadecimal digits",
        |hex: &String| is_hex(hex, 96),
    )
}

pub(super) fn sha384_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<String>, D::Error> {
    checked(
        from,
        "a SHA-384 as 96 lower-case hexadecimal digits",
        |hex: &Option<String>| hex.as_deref().is_none_or(|hex| is_hex(hex, 96)),
    )
}

pub(super) fn disks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<super::Disk>, D::Error> {
    checked(
        from,
        "at most 16 disks, each readonly one with its sha384",
        |disks: &Vec<super::Disk>| {
            disks.len() <= 16
                && disks
                    .iter()
                    .all(|disk| !disk.readonly || disk.sha384.is_some())
        },
    )
}

pub(super) fn services<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    checked(
        from,
        "at most 16 names of services, each 1 to 63 of a-z, 0-9, `-`, none twice",
        |services: &Vec<String>| {
            let distinct: BTreeSet<_> = services.iter().collect();
            services.len() <= 16
                && distinct.len() == services.len()
                && services.iter().all(|service| is_name(service))
        },
    )
}

pub(super) fn mtu<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    checked(from, "1280 to 65535 bytes", |mtu| (1280..).contains(mtu))
}

pub(super) fn budget<'de, D: Deserializer<'de>>(from: D) -> Result<super::Budget, D::Error> {
    checked(
        from,
        "bytes_per_request 4096 to 1099511627776, concurrent 1 to 64, requests_per_minute 1 to 60000, pause_ms_per_minute 1 to 60000",
        |budget: &super::Budget| {
            (4096..=1 << 40).contains(&budget.bytes_per_request)
                && (1..=64).contains(&budget.concurrent)
                && (1..=60_000).contains(&budget.requests_per_minute)
                && (1..=60_000).contains(&budget.pause_ms_per_minute)
        },
    )
}

pub(super) fn boot_timeout<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    checked(from, "5 to 3600 seconds", |seconds| {
        (5..=3600).contains(seconds)
    })
}

fn checked<'de, D, T>(
    from: D,
    expected: &'static str,
    fits: impl FnOnce(&T) -> bool,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let value = T::deserialize(from)?;
    if fits(&value) {
        return Ok(value);
    }
    // The value itself may be long, and stands at the line and column that the error comes with.
    Err(D::Error::custom(format_args!(
        "out of range: expected {expected}"
    )))
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
