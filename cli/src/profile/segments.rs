//! The pages of a file's code as they must stand in RAM, and their digests.

use bartizan_attestation::digest;
use bartizan_attestation::measurement::{HashAlgorithm, PAGE_SIZE};
use bartizan_attestation::profile::{ProfiledFile, Reference, Segment};

use super::{CodeSegment, Elf, ElfError};

const PAGE: usize = 4096;
const _: () = assert!(PAGE as u64 == PAGE_SIZE, "one size of page");

/// Profiles one ELF file. A file without code has no segments.
pub(super) fn profiled_file(
    path: &str,
    bytes: &[u8],
    algorithms: &[HashAlgorithm],
) -> Result<ProfiledFile, ElfError> {
    let elf = Elf::parse(bytes)?;
    let segments = elf.code.iter().map(|segment| Segment {
        file_offset: segment.file_offset,
        pages: segment.pages,
        references: algorithms
            .iter()
            .map(|algorithm| reference(*algorithm, *segment, bytes))
            .collect(),
    });
    Ok(ProfiledFile {
        path: path.into(),
        sha256: digest::hash(HashAlgorithm::Sha256, bytes),
        segments: segments.collect(),
    })
}

fn reference(algorithm: HashAlgorithm, segment: CodeSegment, bytes: &[u8]) -> Reference {
    let pages: Vec<_> = (0..segment.pages)
        .map(|index| page(bytes, segment.file_offset + index * PAGE_SIZE))
        .collect();
    Reference::of_pages(algorithm, pages.iter().map(<[u8; PAGE]>::as_slice))
}

/// One page of the page cache: the file's bytes, and zeros behind its end.
fn page(bytes: &[u8], offset: u64) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| bytes.get(offset..));
    for (to, from) in page.iter_mut().zip(rest.unwrap_or_default()) {
        *to = *from;
    }
    page
}
