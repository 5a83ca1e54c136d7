//! Application profiles: JSON by an operator.
#![no_main]

use bartizan_attestation::measurement::{DigestKind, PAGE_SIZE};
use bartizan_attestation::profile::{ApplicationProfile, ProfiledFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(profile) = ApplicationProfile::from_json(data) else {
        return;
    };
    let again =
        ApplicationProfile::from_json(&profile.to_json()).expect("what was read can be written");
    assert_eq!((&again, again.id()), (&profile, profile.id()));
    let document = profile.document();
    assert!(document.required.contains(&document.executable));
    for file in &document.files {
        assert_eq!(
            profile.file(&file.path),
            Some(file),
            "two files at one path"
        );
        are_apart(file);
    }
});

fn are_apart(file: &ProfiledFile) {
    let mut free_from = 0;
    for segment in &file.segments {
        assert!(segment.file_offset >= free_from);
        free_from = segment.file_end();
        assert_eq!(free_from, segment.file_offset + segment.pages * PAGE_SIZE);
        for reference in &segment.references {
            assert!(
                reference
                    .expected(DigestKind::Flat, 0, segment.pages)
                    .is_some()
            );
            assert!(
                reference
                    .expected(DigestKind::Tree, segment.pages - 1, 1)
                    .is_some()
            );
            assert!(
                reference
                    .expected(DigestKind::Tree, segment.pages, 1)
                    .is_none()
            );
            assert!(
                reference
                    .expected(DigestKind::Tree, u64::MAX, u64::MAX)
                    .is_none()
            );
        }
    }
}
