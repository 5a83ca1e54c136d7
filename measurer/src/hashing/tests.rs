use bartizan_attestation::digest::tree_root;
use bartizan_attestation::measurement::Target;

use super::*;
use crate::contents::{Kept, Runs};
use crate::snapshot_buffer::SnapshotBuffer;

const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha3_384;

fn request(kind: DigestKind, page_digests: bool) -> MeasurementRequest {
    MeasurementRequest {
        version: MeasurementRequest::VERSION,
        verifier_nonce: [1; 32],
        guest_nonce: [2; 32],
        audience: "audience".into(),
        application: "application".into(),
        target: Target::Profile { pid: 1 },
        algorithm: ALGORITHM,
        kind,
        expected: None,
        page_digests,
    }
}

fn buffer(bytes: &[u8]) -> SnapshotBuffer {
    let mut buffer = SnapshotBuffer::allocate(bytes.len()).unwrap();
    buffer.bytes_mut().copy_from_slice(bytes);
    buffer
}

fn copied(bytes: &[u8]) -> Contents {
    Contents::copied(buffer(bytes), bytes.len() as u64)
}

fn two_regions() -> ([Region; 2], Vec<u8>) {
    let regions = [
        Region {
            address: 0x5000,
            size: 0x2000,
        },
        Region {
            address: 0x1000,
            size: 0x1000,
        },
    ];
    let bytes = (0..0x3000_u32).map(|n| (n / 7).to_le_bytes()[0]).collect();
    (regions, bytes)
}

#[test]
fn flat_is_the_hash_over_the_bytes_in_order() {
    let (regions, bytes) = two_regions();
    let digests = digests(&request(DigestKind::Flat, false), &regions, &copied(&bytes));
    assert_eq!(digests.overall, hash(ALGORITHM, &bytes));
    assert_eq!(digests.regions[0].digest, hash(ALGORITHM, &bytes[..0x2000]));
    assert_eq!(digests.regions[1].digest, hash(ALGORITHM, &bytes[0x2000..]));
    assert_eq!(digests.page_digests, None);
}

#[test]
fn one_region_is_the_whole() {
    let (regions, bytes) = two_regions();
    let digests = digests(
        &request(DigestKind::Flat, true),
        &regions[..1],
        &copied(&bytes[..0x2000]),
    );
    assert_eq!(digests.overall, hash(ALGORITHM, &bytes[..0x2000]));
    assert_eq!(digests.regions[0].digest, digests.overall);
    let pages = digests.page_digests.unwrap();
    assert_eq!(pages[48..], hash(ALGORITHM, &bytes[0x1000..0x2000]).0);
}

#[test]
fn tree_indices_run_through_all_regions() {
    let (regions, bytes) = two_regions();
    let digests = digests(&request(DigestKind::Tree, true), &regions, &copied(&bytes));
    let pages: Vec<Vec<u8>> = bytes
        .chunks(4096)
        .map(|page| hash(ALGORITHM, page).0)
        .collect();
    assert_eq!(digests.overall, tree_root(ALGORITHM, &pages.concat()));
    assert_eq!(digests.regions[1].digest, tree_root(ALGORITHM, &pages[2]));
    assert_eq!(digests.page_digests, Some(pages.concat()));
}

#[test]
fn a_tree_needs_no_more_than_page_digests() {
    let (regions, bytes) = two_regions();
    let pages: Vec<Vec<u8>> = bytes
        .chunks(4096)
        .map(|page| hash(ALGORITHM, page).0)
        .collect();
    // Kept in another order than the regions'.
    let kept = [pages[2].as_slice(), &pages[0], &pages[1]].concat();
    let mut runs = Runs::default();
    runs.push(1, 2);
    runs.push(0, 1);
    let digest_len = ALGORITHM.digest_len();
    let contents = Contents::PageDigests(Kept::new(buffer(&kept), digest_len, runs));
    for wished in [false, true] {
        let request = request(DigestKind::Tree, wished);
        let expected = digests(&request, &regions, &copied(&bytes));
        assert_eq!(digests(&request, &regions, &contents), expected);
    }
}
