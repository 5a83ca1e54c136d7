//! Foreign bytes: whatever they are, there is an answer.

use proptest::prelude::*;

use super::debs::package_of_true;
use super::*;

/// A program with one field of its headers changed.
fn patched(offset: usize, value: &[u8]) -> Vec<u8> {
    let mut program = std::fs::read("/usr/bin/true").unwrap();
    program[offset..offset + value.len()].copy_from_slice(value);
    program
}

/// Offset in the file of the program header of the (only) code segment.
fn code_header(program: &[u8]) -> usize {
    (0..usize::from(program[56]))
        .map(|index| 64 + 56 * index)
        .find(|at| program[*at] == 1 && program[at + 4] & 1 == 1)
        .unwrap()
}

#[test]
fn a_file_whose_code_cannot_be_foretold_is_refused() {
    let header = code_header(&std::fs::read("/usr/bin/true").unwrap());
    let parse = |offset: usize, value: &[u8]| Elf::parse(&patched(offset, value)).unwrap_err();
    assert!(matches!(parse(18, &[183, 0]), ElfError::Kind));
    assert!(matches!(parse(16, &[1, 0]), ElfError::Kind));
    assert!(matches!(
        parse(header + 4, &[7]),
        ElfError::WritableCode { .. }
    ));
    assert!(matches!(
        parse(header + 16, &[8]),
        ElfError::Alignment { .. }
    ));
    let huge = [0xff; 6];
    assert!(matches!(
        parse(header + 40, &huge),
        ElfError::CodeWithoutContent { .. }
    ));
    assert!(matches!(
        parse(header + 32, &huge),
        ElfError::CodeWithoutContent { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_as_elf(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Elf::parse(&bytes);
        let _ = Elf::parse(&[b"\x7fELF\x02\x01\x01".as_slice(), &bytes].concat());
    }

    #[test]
    fn any_change_to_the_headers_of_an_elf(at in 16_usize..1024, value: [u8; 8]) {
        if let Ok(elf) = Elf::parse(&patched(at, &value)) {
            // Whatever is accepted lies within the file.
            let size = std::fs::metadata("/usr/bin/true").unwrap().len();
            for segment in &elf.code {
                prop_assert!(segment.file_offset + (segment.pages - 1) * 4096 < size);
            }
        }
    }

    #[test]
    fn any_bytes_as_package(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Packages::default().add_deb(&bytes);
        let _ = Packages::default().add_deb(&[b"!<arch>\n".as_slice(), &bytes].concat());
    }

    #[test]
    fn any_change_to_a_package(at in 0_usize..2048, value: [u8; 4]) {
        let mut deb = package_of_true();
        deb[at..at + 4].copy_from_slice(&value);
        let _ = Packages::default().add_deb(&deb);
    }

    #[test]
    fn any_path_resolves_or_does_not(path in "[/a-z.]{0,64}") {
        let mut packages = Packages::default();
        packages.add_deb(&package_of_true()).unwrap();
        if let Ok(resolved) = packages.resolve(&path) {
            prop_assert_eq!(resolved, "/usr/bin/true");
        }
    }
}
