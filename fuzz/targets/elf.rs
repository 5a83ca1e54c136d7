//! Programs and libraries of which a profile is made.
#![no_main]

use bartizan_attestation::profile::ApplicationProfile;
use bartizan_cli::profile::{Elf, ProfileBuilder, ProfileOptions};
use libfuzzer_sys::fuzz_target;

const PATH: &str = "/usr/bin/program";

fuzz_target!(|data: &[u8]| {
    let Ok(elf) = Elf::parse(data) else {
        return;
    };
    let mut free_from = 0;
    for segment in &elf.code {
        assert!(segment.file_offset.is_multiple_of(4096) && segment.pages > 0);
        assert!(segment.file_offset >= free_from, "segments overlap");
        free_from = segment.file_offset + segment.pages * 4096;
        assert!(free_from < data.len() as u64 + 4096, "code beyond the file");
    }
    let names = elf.needed.iter().chain(&elf.interpreter);
    assert!(
        names
            .into_iter()
            .all(|name| !name.is_empty() && !name.contains('\0'))
    );

    let built = ProfileBuilder::from_elf(PATH, data)
        .and_then(|builder| builder.build(&ProfileOptions::new("program")));
    if let Ok(profile) = built {
        assert_eq!(
            ApplicationProfile::from_json(&profile.to_json()).ok(),
            Some(profile)
        );
    }
});
