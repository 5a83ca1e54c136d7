use std::fs;
use std::os::unix::fs::FileExt;

use bartizan_attestation::digest;

use super::*;

fn file_of(bytes: &[u8]) -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    fs::write(&path, bytes).unwrap();
    (
        folder,
        path,
        digest::hash(HashAlgorithm::Sha384, bytes).to_string(),
    )
}

#[test]
fn copy_keeps_its_bytes_when_the_file_changes() {
    let (_folder, path, sha384) = file_of(b"kernel");
    let copy = File::from(sealed_copy(&path, &sha384).unwrap().file);
    fs::write(&path, b"KERNEL").unwrap();
    let mut bytes = [0; 6];
    copy.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"kernel");
    assert!(copy.write_at(b"x", 0).is_err(), "the copy is sealed");
    assert!(copy.set_len(1).is_err(), "the copy is sealed");
}

#[test]
fn other_contents_are_refused_with_both_digests() {
    let (_folder, path, _) = file_of(b"kernel");
    for refused in [sealed_copy(&path, "00"), read_only_disk(&path, "00")] {
        let Err(FileError::Mismatch {
            expected, found, ..
        }) = refused
        else {
            panic!("accepted");
        };
        assert_eq!((expected.as_str(), found.len()), ("00", 96));
    }
}

#[test]
fn a_folder_is_no_disk() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        read_only_disk(folder.path(), ""),
        Err(FileError::WrongType(_))
    ));
    assert!(matches!(
        writable_disk(Path::new("/dev/null")),
        Err(FileError::WrongType(_))
    ));
}
