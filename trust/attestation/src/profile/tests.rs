use proptest::prelude::*;

use super::*;
use crate::measurement::PAGE_SIZE;

fn document(algorithms: &[HashAlgorithm], pages: u8) -> ProfileDocument {
    let pages: Vec<_> = (0..pages).map(|byte| vec![byte; 4096]).collect();
    let reference = |algorithm: &HashAlgorithm| {
        Reference::of_pages(*algorithm, pages.iter().map(Vec::as_slice))
    };
    ProfileDocument {
        version: 1,
        application: "ledger".into(),
        executable: "/usr/sbin/ledger".into(),
        required: vec!["/usr/sbin/ledger".into()],
        algorithms: algorithms.to_vec(),
        allow_page_digests: true,
        special_mappings: SpecialMappings::Unappraised,
        files: vec![ProfiledFile {
            path: "/usr/sbin/ledger".into(),
            sha256: Digest(vec![1; 32]),
            segments: vec![Segment {
                file_offset: PAGE_SIZE,
                pages: pages.len() as u64,
                references: algorithms.iter().map(reference).collect(),
            }],
        }],
    }
}

fn refused(change: impl FnOnce(&mut ProfileDocument)) -> ProfileError {
    let mut document = document(&[HashAlgorithm::Sha256, HashAlgorithm::Sha384], 3);
    change(&mut document);
    ApplicationProfile::try_from(document).unwrap_err()
}

#[test]
fn a_flat_digest_cannot_be_cut_a_tree_can() {
    let document = document(&[HashAlgorithm::Sha256], 3);
    let reference = &document.files[0].segments[0].references[0];
    let middle = digest::hash(HashAlgorithm::Sha256, &[1; 4096]).0;
    assert_eq!(
        reference.expected(DigestKind::Tree, 1, 1),
        Some(digest::tree_root(HashAlgorithm::Sha256, &middle))
    );
    assert_eq!(reference.expected(DigestKind::Flat, 1, 1), None);
    assert_eq!(
        reference.expected(DigestKind::Flat, 0, 3),
        Some(reference.flat.clone())
    );
    assert_eq!(reference.expected(DigestKind::Tree, 1, 3), None);
    assert_eq!(reference.expected(DigestKind::Tree, u64::MAX, 2), None);
}

/// What comes after the bound would be no JSON: it is not read.
#[test]
fn no_list_is_read_beyond_its_bound() {
    let json = serde_json::to_string(&document(&[HashAlgorithm::Sha256], 1)).unwrap();
    let lists = [
        ("files", ApplicationProfile::MAX_FILES),
        ("required", ApplicationProfile::MAX_FILES),
        ("segments", ApplicationProfile::MAX_SEGMENTS),
        ("references", HashAlgorithm::ALL.len()),
        ("algorithms", HashAlgorithm::ALL.len()),
    ];
    for (name, most) in lists {
        let begin = format!("\"{name}\":[");
        let at = json.find(&begin).unwrap() + begin.len();
        let entry = first_value(&json[at..]);
        let list = vec![entry; most + 1].join(",");
        let endless = format!("{}{list},!", &json[..at]);
        let error = serde_json::from_str::<ProfileDocument>(&endless).unwrap_err();
        let expected = format!("invalid length {}", most + 1);
        assert!(error.to_string().contains(&expected), "{name}: {error}");
    }
}

/// The first value of a list's inside.
fn first_value(inside: &str) -> &str {
    let mut values = serde_json::Deserializer::from_str(inside).into_iter::<serde_json::Value>();
    values.next().unwrap().unwrap();
    &inside[..values.byte_offset()]
}

#[test]
fn every_rule_has_its_own_error() {
    use ProfileError as E;
    assert!(matches!(
        refused(|it| it.version = 2),
        E::Version { found: 2 }
    ));
    for name in ["", "a/b", "-a", "ä", &"a".repeat(129)] {
        assert!(matches!(
            refused(|it| it.application = name.into()),
            E::Application { .. }
        ));
    }
    for path in ["", "relative", "/", "/a//b", "/a/../b", "/a/", "/a\nb"] {
        let renamed = |it: &mut ProfileDocument| it.files[0].path = path.into();
        assert!(matches!(refused(renamed), E::Path { .. }), "{path}");
    }
    assert!(matches!(refused(|it| it.algorithms.clear()), E::Algorithms));
    assert!(matches!(
        refused(|it| it.algorithms = vec![HashAlgorithm::Sha256; 2]),
        E::Algorithms
    ));
    assert!(matches!(
        refused(|it| it.files.clear()),
        E::FileCount { count: 0 }
    ));
    assert!(matches!(
        refused(|it| it.files.push(it.files[0].clone())),
        E::Duplicate { .. }
    ));
    assert!(matches!(
        refused(|it| it.required.push("/x".into())),
        E::UnknownRequired { .. }
    ));
    assert!(matches!(
        refused(|it| it.required.clear()),
        E::ExecutableNotRequired
    ));
    assert!(matches!(
        refused(|it| it.files[0].sha256.0.truncate(31)),
        E::FileDigest { .. }
    ));
}

#[test]
fn segments_and_references_fit() {
    use ProfileError as E;
    let changed = |change: fn(&mut Segment)| refused(|it| change(&mut it.files[0].segments[0]));
    assert!(matches!(
        changed(|it| it.file_offset = 1),
        E::Segments { .. }
    ));
    assert!(matches!(changed(|it| it.pages = 0), E::Segments { .. }));
    assert!(matches!(
        changed(|it| it.pages = u64::MAX),
        E::Segments { .. }
    ));
    assert!(matches!(
        changed(|it| it.file_offset = !4095),
        E::Segments { .. }
    ));
    assert!(matches!(changed(|it| it.pages = 4), E::References { .. }));
    assert!(matches!(
        changed(|it| it.references.reverse()),
        E::References { .. }
    ));
    assert!(matches!(
        changed(|it| drop(it.references.pop())),
        E::References { .. }
    ));
    assert!(matches!(
        changed(|it| it.references[0].flat.0.clear()),
        E::References { .. }
    ));
    assert!(matches!(
        changed(|it| it.references[1].page_digests.truncate(100)),
        E::References { .. }
    ));
    assert!(matches!(
        refused(|it| it.files[0].segments.extend_from_within(..)),
        E::Segments { .. }
    ));
    assert!(matches!(
        refused(|it| it.files[0].segments.clear()),
        E::Segments { .. }
    ));
}

#[test]
fn unknown_and_doubled_fields_are_refused() {
    let profile = ApplicationProfile::try_from(document(&[HashAlgorithm::Sha256], 1)).unwrap();
    let json = String::from_utf8(profile.to_json()).unwrap();
    for (from, to) in [
        ("\"version\":1", "\"version\":1,\"more\":1"),
        ("\"version\":1", "\"version\":1,\"version\":1"),
        ("sha-256", "SHA-256"),
        ("unappraised", "ignored"),
    ] {
        let changed = json.replacen(from, to, 1);
        assert_ne!(changed, json);
        let refused = ApplicationProfile::from_json(changed.as_bytes());
        assert!(matches!(refused, Err(ProfileError::Malformed(_))));
    }
}

#[test]
fn the_id_follows_the_content() {
    let id = |pages| {
        ApplicationProfile::try_from(document(&[HashAlgorithm::Sha256], pages))
            .unwrap()
            .id()
    };
    assert!(id(1).starts_with("urn:bartizan:profile:ledger:"));
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
}

proptest! {
    #[test]
    fn round_trip(pages in 1_u8..20, count in 1_usize..=6) {
        let document = document(&HashAlgorithm::ALL[..count], pages);
        let profile = ApplicationProfile::try_from(document).unwrap();
        prop_assert_eq!(ApplicationProfile::from_json(&profile.to_json()).unwrap(), profile);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = ApplicationProfile::from_json(&bytes);
    }

    #[test]
    fn any_change_of_a_byte(at: proptest::sample::Index, byte: u8) {
        let profile = ApplicationProfile::try_from(document(&[HashAlgorithm::Sha256], 2)).unwrap();
        let mut json = profile.to_json();
        let at = at.index(json.len());
        json[at] = byte;
        // What is still a profile is the one that it says.
        if let Ok(changed) = ApplicationProfile::from_json(&json) {
            prop_assert_eq!(ApplicationProfile::from_json(&changed.to_json()).unwrap(), changed);
        }
    }
}
