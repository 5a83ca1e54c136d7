//! Programs, packages, kernels.

use std::io::Write;

use bartizan_fuzz::package;
use bartizan_fuzz::small_kernel::{symbol_tables, types, vmlinux};

use crate::Seed;
use crate::program::program;

pub(crate) fn seeds() -> Vec<Seed> {
    let mut tables = symbol_tables().into_iter();
    let mut table = || tables.next().unwrap();
    [
        packages(),
        kernels(),
        vec![
            ("elf", "static", program(false)),
            ("elf", "dynamic", program(true)),
            ("vmlinux", "small", vmlinux()),
            ("kallsyms", "6.1", table()),
            ("kallsyms", "6.4", table()),
            ("kallsyms", "6.15", table()),
            ("kallsyms", "7.0", table()),
            ("btf", "small", types()),
        ],
    ]
    .concat()
}

fn packages() -> Vec<Seed> {
    let tar = tarball();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&tar).unwrap();
    let options = lzma_rust2::XzOptions::with_preset(0);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    xz.write_all(&tar).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(
        tar.as_slice(),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    let with = |selector: u8, bytes: Vec<u8>| [vec![selector], bytes].concat();
    vec![
        ("deb", "package", with(0, package::deb("", &tar))),
        ("deb", "tar", with(1, tar)),
        ("deb", "gzip", with(2, gzip.finish().unwrap())),
        ("deb", "xz", with(3, xz.finish().unwrap())),
        ("deb", "zstd", with(4, zstd)),
    ]
}

/// Two programs and links among directories.
fn tarball() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(0o755);
        header
    };
    let program: &[u8] = b"\x7fELF program";
    for path in ["./bin/true", "./usr/lib64/libx.so.1.2"] {
        let mut header = header(tar::EntryType::Regular, program.len());
        tar.append_data(&mut header, path, program).unwrap();
    }
    for (path, target) in [
        ("./usr/bin/yes", "/bin/true"),
        ("./lib64/libx.so.1", "libx.so.1.2"),
        ("./usr/lib/a", "../lib"),
    ] {
        let mut header = header(tar::EntryType::Symlink, 0);
        tar.append_link(&mut header, path, target).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A boot image around each compression of one kernel, as introspection's own tests have them.
fn kernels() -> Vec<Seed> {
    macro_rules! sample {
        ($name:literal) => {
            include_bytes!(concat!(
                "../../introspection/src/payload/samples/pattern.",
                $name
            ))
            .as_slice()
        };
    }
    let plain = b"\x7fELF a kernel that is not compressed".as_slice();
    [
        ("plain", plain),
        ("gzip", sample!("gz")),
        ("xz", sample!("xz")),
        ("lz4", sample!("lz4")),
        ("zstd", sample!("zst")),
    ]
    .map(|(name, payload)| ("bzimage", name, bzimage(payload)))
    .to_vec()
}

/// Boot protocol 2.08, one sector of setup code, the payload right behind.
fn bzimage(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 2 * 512];
    image[0x1f1] = 1;
    image[0x202..0x208].copy_from_slice(b"HdrS\x08\x02");
    let length = u32::try_from(payload.len()).unwrap();
    image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
    image.extend(payload);
    image
}
