use proptest::prelude::*;

use super::*;

fn hex_hash(algorithm: HashAlgorithm, bytes: &[u8]) -> String {
    hash(algorithm, bytes).to_string()
}

/// FIPS 180-4 and FIPS 202 examples for the message "abc", and what b3sum says of it.
#[test]
fn published_vectors() {
    for (algorithm, expected) in [
        (
            HashAlgorithm::Sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            HashAlgorithm::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            HashAlgorithm::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (
            HashAlgorithm::Sha3_256,
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        ),
        (
            HashAlgorithm::Sha3_384,
            "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
        ),
        (
            HashAlgorithm::Sha3_512,
            "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
        ),
        (
            HashAlgorithm::Blake3,
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        ),
    ] {
        assert_eq!(hex_hash(algorithm, b"abc"), expected, "{algorithm}");
        assert_eq!(expected.len(), 2 * algorithm.digest_len());
    }
}

#[test]
fn pieces_hash_like_the_whole() {
    for algorithm in HashAlgorithm::ALL {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"a");
        hasher.update(b"");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), hash(algorithm, b"abc"));
    }
}

#[test]
fn equality_looks_at_every_byte_and_the_length() {
    let digest = hash(HashAlgorithm::Sha256, b"abc");
    assert!(equal(&digest, &digest.clone()));
    for i in 0..digest.0.len() {
        let mut other = digest.clone();
        other.0[i] ^= 1;
        assert!(!equal(&digest, &other));
    }
    assert!(!equal(&digest, &Digest(digest.0[..31].to_vec())));
}

/// The empty tree is the hash of nothing (RFC 6962 section 2.1).
#[test]
fn empty_tree() {
    assert_eq!(
        tree_root(HashAlgorithm::Sha256, &[]).to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

/// RFC 6962's own definition, top down: split at the largest power of two below the size.
fn by_definition(algorithm: HashAlgorithm, first: u64, pages: &[&[u8]]) -> Vec<u8> {
    match pages {
        [] => hash(algorithm, &[]).0,
        [page] => hash(algorithm, &[&[0][..], &first.to_be_bytes(), page].concat()).0,
        _ => {
            let split = pages.len().next_power_of_two() / 2;
            let (left, right) = pages.split_at(split);
            let left = by_definition(algorithm, first, left);
            let right = by_definition(algorithm, first + split as u64, right);
            hash(algorithm, &[&[1][..], &left, &right].concat()).0
        }
    }
}

#[test]
fn every_small_tree_is_as_defined() {
    for algorithm in HashAlgorithm::ALL {
        let digests: Vec<u8> = (0..70u8)
            .flat_map(|page| hash(algorithm, &[page]).0)
            .collect();
        let pages: Vec<&[u8]> = digests.chunks(algorithm.digest_len()).collect();
        for count in 0..=pages.len() {
            let part = &digests[..count * algorithm.digest_len()];
            assert_eq!(
                tree_root(algorithm, part).0,
                by_definition(algorithm, 0, &pages[..count]),
                "{algorithm}, {count} pages"
            );
        }
    }
}

#[test]
fn a_node_cannot_pass_for_a_leaf() {
    let algorithm = HashAlgorithm::Sha256;
    let page = hash(algorithm, b"page").0;
    let two = tree_root(algorithm, &[page.clone(), page.clone()].concat());
    assert_ne!(two, tree_root(algorithm, &two.0));
    assert_ne!(tree_root(algorithm, &page).0, page);
}

#[test]
fn equal_pages_do_not_stand_for_one_another() {
    let algorithm = HashAlgorithm::Sha384;
    let (a, b) = (hash(algorithm, b"a").0, hash(algorithm, b"b").0);
    let root = |pages: &[&Vec<u8>]| {
        tree_root(
            algorithm,
            &pages
                .iter()
                .flat_map(|page| page.to_vec())
                .collect::<Vec<_>>(),
        )
    };
    assert_ne!(root(&[&a, &b]), root(&[&b, &a]));
    assert_ne!(root(&[&a]), root(&[&a, &a]));
}

#[test]
fn trailing_bytes_are_not_left_out() {
    let algorithm = HashAlgorithm::Sha256;
    let page = hash(algorithm, b"page").0;
    assert_ne!(
        tree_root(algorithm, &page),
        tree_root(algorithm, &[&page[..], &[7]].concat())
    );
}

proptest! {
    #[test]
    fn any_changed_page_changes_the_root(
        count in 1usize..40,
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let algorithm = HashAlgorithm::Sha256;
        let mut digests: Vec<u8> =
            (0..count as u64).flat_map(|i| hash(algorithm, &i.to_be_bytes()).0).collect();
        let root = tree_root(algorithm, &digests);
        let at = at.index(digests.len());
        digests[at] ^= 1 << bit;
        prop_assert_ne!(tree_root(algorithm, &digests), root);
    }
}
