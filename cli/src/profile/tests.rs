//! Profiles of this machine's own programs, of packages made here, and of garbage.

mod debs;
mod hostile;
mod running;

use super::*;

fn this_machines(path: &str) -> ProfileBuilder {
    let read = |path: &str| std::fs::read(path).unwrap();
    ProfileBuilder::from_elf(path, &read(path)).unwrap()
}

#[test]
fn a_program_without_its_libraries_is_refused_by_name() {
    let refused = this_machines("/usr/bin/true").build(&ProfileOptions::new("true"));
    let Err(BuildError::MissingLibrary { needed, by }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(by, "/usr/bin/true");
    assert!(
        needed.contains("ld-linux") || needed.contains("libc.so"),
        "{needed}"
    );
}

#[test]
fn every_algorithm_gives_references_of_its_length() {
    let mut options = ProfileOptions::new("cat");
    options.algorithms = HashAlgorithm::ALL.to_vec();
    let profile = running::profile_of("/usr/bin/cat", &options);
    for file in &profile.document().files {
        for (reference, algorithm) in file.segments[0].references.iter().zip(HashAlgorithm::ALL) {
            assert_eq!(reference.algorithm, algorithm);
            assert_eq!(reference.flat.0.len(), algorithm.digest_len());
        }
    }
    assert_eq!(
        ApplicationProfile::from_json(&profile.to_json()).unwrap(),
        profile
    );
}
