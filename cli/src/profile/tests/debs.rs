//! Packages put together here.

use std::io::Write;

use super::*;

/// A member of an `ar` archive.
fn member(name: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
        0,
        0,
        0,
        100_644,
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    if !body.len().is_multiple_of(2) {
        bytes.push(b'\n');
    }
    bytes
}

/// A package around a `data.tar` with that suffix.
fn package(suffix: &str, data: &[u8]) -> Vec<u8> {
    let members = [
        member("debian-binary", b"2.0\n"),
        member("control.tar", b""),
        member(&format!("data.tar{suffix}"), data),
    ];
    [b"!<arch>\n".to_vec(), members.concat()].concat()
}

fn entry(kind: EntryType, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(0o755);
    header
}

use tar::EntryType;

/// A tar of files and symbolic links.
fn tarball(files: &[(&str, &[u8])], links: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        tar.append_data(&mut entry(EntryType::Regular, bytes.len()), path, *bytes)
            .unwrap();
    }
    for (path, target) in links {
        tar.append_link(&mut entry(EntryType::Symlink, 0), path, target)
            .unwrap();
    }
    tar.into_inner().unwrap()
}

pub(super) fn package_of_true() -> Vec<u8> {
    let program = std::fs::read("/usr/bin/true").unwrap();
    package("", &tarball(&[("./bin/true", &program)], &[]))
}

#[test]
fn every_compression_gives_the_same_files() {
    let program = std::fs::read("/usr/bin/true").unwrap();
    let data = tarball(
        &[("./bin/true", &program)],
        &[("./usr/bin/yes", "/bin/true")],
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&data).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(
        data.as_slice(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    for deb in [
        package("", &data),
        package(".gz", &gzip.finish().unwrap()),
        package(".zst", &zstd),
    ] {
        let mut packages = Packages::default();
        packages.add_deb(&deb).unwrap();
        let path = packages.resolve("/bin/yes").unwrap();
        assert_eq!(path, "/usr/bin/true");
        assert_eq!(packages.bytes(&path).unwrap(), program);
    }
}

#[test]
fn unknown_compression_is_refused_by_name() {
    let refused = Packages::default().add_deb(&package(".lzma", b""));
    assert!(matches!(refused, Err(PackageError::Compression { suffix }) if suffix == ".lzma"));
}

#[test]
fn links_resolve_as_the_kernel_would_and_loops_end() {
    let elf: &[u8] = b"\x7fELF rest";
    let data = tarball(
        &[("./usr/lib/real/libx.so.1.2", elf)],
        &[
            ("./lib/x86_64-linux-gnu", "../lib/real"),
            ("./usr/lib/real/libx.so.1", "libx.so.1.2"),
            ("./usr/lib/a", "b"),
            ("./usr/lib/b", "a"),
            ("./usr/lib/grow", "grow/grow"),
        ],
    );
    let mut packages = Packages::default();
    packages.add_deb(&package("", &data)).unwrap();
    let found = packages.resolve("/lib/x86_64-linux-gnu/libx.so.1").unwrap();
    assert_eq!(found, "/usr/lib/real/libx.so.1.2");
    for path in ["/usr/lib/a/x", "/lib/grow"] {
        assert!(matches!(
            packages.resolve(path),
            Err(PackageError::LinkLoop { .. })
        ));
    }
    assert!(matches!(
        packages.resolve("/usr/lib/none"),
        Err(PackageError::NotFound { .. })
    ));
}

#[test]
fn two_packages_may_share_a_file_but_not_differ_in_it() {
    let of = |content: &[u8]| package("", &tarball(&[("./lib/libx.so", content)], &[]));
    let mut packages = Packages::default();
    packages.add_deb(&of(b"\x7fELF one")).unwrap();
    packages.add_deb(&of(b"\x7fELF one")).unwrap();
    let refused = packages.add_deb(&of(b"\x7fELF two"));
    assert!(matches!(refused, Err(PackageError::Conflict { path }) if path == "/usr/lib/libx.so"));
}

#[test]
fn a_link_in_the_place_of_another_packages_program_is_refused() {
    let elf: &[u8] = b"\x7fELF one";
    let program = package("", &tarball(&[("./usr/sbin/nginx", elf)], &[]));
    let library = |link| package("", &tarball(&[("./usr/lib/evil", b"\x7fELF two")], &[link]));
    for (link, at) in [
        (("./usr/sbin/nginx", "/usr/lib/evil"), "/usr/sbin/nginx"),
        (("./usr/sbin", "/usr/lib"), "/usr/sbin"),
        (("./usr", "evil"), "/usr"),
    ] {
        for order in [[&program, &library(link)], [&library(link), &program]] {
            let mut packages = Packages::default();
            let added: Result<Vec<_>, _> = order.iter().map(|deb| packages.add_deb(deb)).collect();
            assert!(
                matches!(&added, Err(PackageError::Conflict { path }) if path == at),
                "{added:?}"
            );
        }
    }
}

#[test]
fn the_links_of_a_merged_usr_stand_in_nobodys_way() {
    let links = [("./bin", "usr/bin"), ("./lib64", "usr/lib64")];
    let program = [("./usr/bin/true", &b"\x7fELF"[..])];
    let mut packages = Packages::default();
    packages
        .add_deb(&package("", &tarball(&program, &links)))
        .unwrap();
    assert_eq!(packages.resolve("/bin/true").unwrap(), "/usr/bin/true");
}

#[test]
fn two_packages_may_share_a_link_but_not_differ_in_it() {
    let of = |target| package("", &tarball(&[], &[("./usr/lib/libx.so.1", target)]));
    let mut packages = Packages::default();
    packages.add_deb(&of("libx.so.1.2")).unwrap();
    packages.add_deb(&of("libx.so.1.2")).unwrap();
    let refused = packages.add_deb(&of("/usr/lib/evil"));
    assert!(
        matches!(&refused, Err(PackageError::Conflict { path }) if path == "/usr/lib/libx.so.1"),
        "{refused:?}"
    );
    // Beside it, not within it.
    packages
        .add_link("/usr/lib/libx.so.1.1", "libx.so.1.2")
        .unwrap();
}

#[test]
fn a_file_in_the_place_of_the_root_directory_is_refused() {
    let mut header = entry(EntryType::Regular, 4);
    header.as_gnu_mut().unwrap().name[..2].copy_from_slice(b"./");
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, b"\x7fELF".as_slice()).unwrap();
    let deb = package("", &tar.into_inner().unwrap());
    let refused = Packages::default().add_deb(&deb);
    assert!(matches!(refused, Err(PackageError::Path)), "{refused:?}");
}

#[test]
fn a_bomb_is_stopped() {
    // 2 GiB of zeros as one member: some 2 MB of gzip.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut header = entry(EntryType::Regular, 1 << 31);
    header.set_path("./usr/bin/zeros").unwrap();
    header.set_cksum();
    gzip.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..2048 {
        gzip.write_all(&zeros).unwrap();
    }
    let deb = package(".gz", &gzip.finish().unwrap());
    let refused = Packages::default().add_deb(&deb);
    assert!(
        matches!(refused, Err(PackageError::Unpack(_))),
        "{refused:?}"
    );
}

#[test]
fn malformed_packages_are_told_apart() {
    let good = package("", &tarball(&[], &[]));
    let add = |deb: &[u8]| Packages::default().add_deb(deb).unwrap_err();
    assert!(matches!(
        add(b"PK\x03\x04"),
        PackageError::Archive(ArchiveError::Magic)
    ));
    assert!(matches!(
        add(&good[..40]),
        PackageError::Archive(ArchiveError::Header { at: 8 })
    ));
    let cut = &good[..good.len() - 10];
    assert!(matches!(
        add(cut),
        PackageError::Archive(ArchiveError::Truncated { .. })
    ));
    let only = [b"!<arch>\n".to_vec(), member("debian-binary", b"2.0\n")].concat();
    assert!(matches!(
        add(&only),
        PackageError::Archive(ArchiveError::Format)
    ));
    let version = [b"!<arch>\n".to_vec(), member("debian-binary", b"3.0\n")].concat();
    assert!(matches!(
        add(&version),
        PackageError::Archive(ArchiveError::Format)
    ));
}
