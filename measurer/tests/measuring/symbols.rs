//! The kernel profile, built from the bzImage alone, against what the running kernel says of itself.

use std::path::Path;

use bartizan_introspection::KernelProfile;

/// Every symbol's name, kind and address, less the one slide that KASLR added to all of the kernel's text and data.
pub(crate) fn are_those_of_the_image(kernel: &Path, kallsyms: &str) {
    let profile = KernelProfile::from_bzimage(&std::fs::read(kernel).unwrap()).unwrap();
    // Lines with a fourth field are of modules and BPF programs, which the image cannot know.
    let running: Vec<_> = kallsyms
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() == 3)
        .collect();
    let address = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let start = running.iter().find(|fields| fields[2] == "_text").unwrap();
    let slide = address(start[0]).wrapping_sub(profile.symbol("_text").unwrap());

    let image: Vec<_> = profile.symbols().iter().collect();
    assert!(image.len() > 50_000, "{}", image.len());
    assert_eq!(image.len(), running.len());
    for (expected, found) in image.iter().zip(&running) {
        let [at, kind, name] = found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(expected.name, name);
        assert_eq!(expected.kind, kind.as_bytes()[0], "{name}");
        // Per-CPU symbols are offsets, which KASLR leaves alone.
        let (at, slid) = (address(at), expected.address.wrapping_add(slide));
        assert!(at == slid || at == expected.address, "{name}: {at:#x}");
    }
    eprintln!("{} symbols, {slide:#x} further", image.len());
}
