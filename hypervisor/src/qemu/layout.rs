//! Where the RAM file lies in guest-physical addresses, and QEMU's own word for it.

use bartizan_attestation::host::RamRange;
use bartizan_attestation::launch::Machine;

/// The legacy hole: which bytes a guest sees at 640 KiB to 1 MiB depends on chipset registers (PAM,
/// SMRAM), so that nothing there is called RAM.
const LEGACY_HOLE: std::ops::Range<u64> = 0xa_0000..0x10_0000;
const ABOVE_4G: u64 = 1 << 32;

/// QEMU lays the guest's RAM out otherwise than is known of it, or cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A line of `info mtree -f` is not understood.
    #[error(
        "line {0} of QEMU's memory tree is not understood; is this a supported QEMU (7.2 or later)?"
    )]
    Unreadable(usize),
    /// There is no address space `memory`.
    #[error("QEMU's memory tree shows no address space `memory`")]
    NoMemory,
    /// The layout differs.
    #[error(
        "QEMU lays guest RAM out as {found:x?}, expected was {expected:x?}: measurements would read wrong pages"
    )]
    Differs {
        /// What QEMU says.
        found: Vec<RamRange>,
        /// What the machine type promises.
        expected: Vec<RamRange>,
    },
}

/// Where a machine of `size` bytes of RAM has it, in ascending order of addresses.
///
/// q35 (`pc_q35_init`, hw/i386/pc_q35.c): 2 GiB below the PCI hole where there are 0xb0000000 bytes or
/// more, else all. microvm (`microvm_memory_init`, hw/i386/microvm.c): at most 3 GiB. The rest is at 4 GiB.
#[must_use]
pub fn ranges(machine: Machine, size: u64) -> Vec<RamRange> {
    let low = match machine {
        Machine::Q35 if size >= 0xb000_0000 => 0x8000_0000,
        Machine::Microvm if size > 0xc000_0000 => 0xc000_0000,
        Machine::Q35 | Machine::Microvm => size,
    };
    let mut ranges = without_hole(RamRange {
        address: 0,
        size: low,
        file_offset: 0,
    });
    if size > low {
        ranges.push(RamRange {
            address: ABOVE_4G,
            size: size - low,
            file_offset: low,
        });
    }
    ranges
}

/// Compares QEMU's `info mtree -f` with what is expected; `region` is the id of the RAM's memory back end.
pub fn verify(tree: &str, region: &str, expected: &[RamRange]) -> Result<(), LayoutError> {
    let found = parse(tree, region)?;
    if found == expected {
        Ok(())
    } else {
        Err(LayoutError::Differs {
            found,
            expected: expected.to_vec(),
        })
    }
}

/// The ranges that `info mtree -f` shows as RAM of the memory back end `region`, without the legacy hole.
///
/// A line is `  <first>-<last> (prio N, <kind>): <region>[ @<offset>]`, numbers in hexadecimal.
pub fn parse(tree: &str, region: &str) -> Result<Vec<RamRange>, LayoutError> {
    let start = tree
        .lines()
        .position(|line| line.trim_start().starts_with("AS \"memory\","))
        .ok_or(LayoutError::NoMemory)?;
    let mut ranges = Vec::new();
    for (number, line) in tree.lines().enumerate().skip(start) {
        if line.starts_with("FlatView") {
            break;
        }
        let Some((span, rest)) = line.split_once(" (prio ") else {
            continue;
        };
        let Some((kind, name)) = rest.split_once("): ") else {
            continue;
        };
        let (name, offset) = name
            .trim_end()
            .split_once(" @")
            .unwrap_or((name.trim_end(), "0"));
        if name != region || !kind.ends_with(" ram") {
            continue;
        }
        let range = range(span.trim(), offset).ok_or(LayoutError::Unreadable(number + 1))?;
        ranges.extend(without_hole(range));
    }
    Ok(ranges)
}

fn range(span: &str, offset: &str) -> Option<RamRange> {
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (first, last) = span.split_once('-')?;
    let (address, last) = (number(first)?, number(last)?);
    let size = last.checked_sub(address)?.checked_add(1)?;
    let file_offset = number(offset)?;
    file_offset.checked_add(size)?;
    address.checked_add(size)?;
    Some(RamRange {
        address,
        size,
        file_offset,
    })
}

fn without_hole(range: RamRange) -> Vec<RamRange> {
    let end = range.address + range.size;
    let part = |from: u64, to: u64| RamRange {
        address: from,
        size: to.saturating_sub(from),
        file_offset: range.file_offset.saturating_add(from - range.address),
    };
    [
        part(range.address, end.min(LEGACY_HOLE.start)),
        part(range.address.max(LEGACY_HOLE.end), end.max(LEGACY_HOLE.end)),
    ]
    .into_iter()
    .filter(|part| part.size > 0 && part.address < end)
    .collect()
}

#[cfg(test)]
mod tests;
