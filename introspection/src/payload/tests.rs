use proptest::prelude::*;

use super::*;

/// [`plain`] by gzip(1), `xz --x86 --check=crc32`, `lz4 -l` and zstd(1), with the size that the kernel's build adds.
const SAMPLES: [(&str, &[u8]); 4] = [
    ("gzip", include_bytes!("samples/pattern.gz")),
    ("xz", include_bytes!("samples/pattern.xz")),
    ("lz4", include_bytes!("samples/pattern.lz4")),
    ("zstd", include_bytes!("samples/pattern.zst")),
];

/// Something like machine code: calls, whose targets the x86 filter of xz rewrites.
fn plain() -> Vec<u8> {
    let mut plain = b"\x7fELF".to_vec();
    let mut state: u32 = 1;
    while plain.len() < 4096 {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        plain.push(0xe8);
        plain.extend(((state >> 16) % 4096).to_le_bytes());
        plain.extend(*b"\x90\x48\x89");
    }
    plain.truncate(4096);
    plain
}

#[test]
fn every_format_is_decompressed() {
    for (format, sample) in SAMPLES {
        assert!(decompress(sample).unwrap() == plain(), "{format}");
    }
    assert!(decompress(&plain()).unwrap() == plain());
}

#[test]
fn several_blocks_of_lz4_are_joined() {
    let kernel: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut stream = vec![0x02, 0x21, 0x4c, 0x18];
    for block in kernel.chunks(8 << 20) {
        let block = lz4_flex::block::compress(block);
        stream.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
        stream.extend(block);
    }
    stream.extend(20_000_000_u32.to_le_bytes());
    assert!(decompress(&stream).unwrap() == kernel);
}

#[test]
fn a_bomb_is_refused() {
    let block = lz4_flex::block::compress(&vec![0; 8 << 20]);
    let mut stream = vec![0x02, 0x21, 0x4c, 0x18];
    for _ in 0..=LIMIT >> 23 {
        stream.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
        stream.extend(&block);
    }
    assert!(matches!(decompress(&stream), Err(PayloadError::TooLarge)));
}

#[test]
fn what_is_unknown_or_cut_is_refused() {
    let unknown = decompress(b"BZh91AY&SY").unwrap_err();
    assert!(matches!(unknown, PayloadError::UnknownFormat(magic) if magic == b"BZh91A"));
    assert!(matches!(
        decompress(b""),
        Err(PayloadError::UnknownFormat(_))
    ));
    for (format, sample) in SAMPLES {
        let cut = decompress(&sample[..sample.len() / 2]);
        assert!(matches!(cut, Err(PayloadError::Damaged { .. })), "{format}");
    }
}

proptest! {
    #[test]
    fn damage_never_panics(
        which in 0..4_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut sample = SAMPLES[which].1.to_vec();
        for (at, byte) in damage {
            let at = at.index(sample.len());
            sample[at] = byte;
        }
        let _ = decompress(&sample);
    }
}
