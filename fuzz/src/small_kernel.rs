//! A kernel of a few structures, to be read from outside: its ELF file, and the profile made of that.

#[path = "../../introspection/src/synthetic/btf.rs"]
#[expect(dead_code, reason = "introspection's own tests use more of it")]
mod btf;
mod elf;
#[path = "../../introspection/src/synthetic/kallsyms.rs"]
mod kallsyms;
mod types;

use std::sync::{Arc, LazyLock};

use bartizan_introspection::KernelProfile;

pub use types::types;

/// Where the image is linked (`_text`).
pub const TEXT: u64 = 0xffff_ffff_8100_0000;
/// Where the read-only data is linked; the banner is its first part.
pub const RODATA: u64 = TEXT + 0x800;
/// What stands at `linux_banner`.
pub const BANNER: &str = "Linux version 6.1.0-small #1 SMP\n";

/// The symbols that readers look up, each behind the letter of its kind, with their distance from `_text`.
pub const SYMBOLS: [(&str, u64); 7] = [
    ("T_text", 0),
    ("Dinit_task", 0x40),
    ("Dphys_base", 0x700),
    ("Dsystem_state", 0x708),
    ("Rlinux_banner", 0x800),
    ("Dspecial_mapping_vmops", 0x900),
    ("Dinit_top_pgt", 0x1000),
];

/// The kernel's profile.
pub static PROFILE: LazyLock<Arc<KernelProfile>> = LazyLock::new(|| {
    let profile = KernelProfile::from_vmlinux(&vmlinux());
    Arc::new(profile.expect("the small kernel is understood"))
});

/// The kernel's ELF file.
#[must_use]
pub fn vmlinux() -> Vec<u8> {
    let mut rodata = BANNER.as_bytes().to_vec();
    rodata.resize(64, 0);
    rodata.extend(symbol_tables().swap_remove(1));
    elf::file(&rodata, &types())
}

/// Its symbol table, to stand 64 bytes behind [`RODATA`], in each way of writing one.
#[must_use]
pub fn symbol_tables() -> Vec<Vec<u8>> {
    use kallsyms::Layout::{Before, Behind, Relative, SelfRelative};
    let named = SYMBOLS.map(|(name, distance)| (name.to_owned(), TEXT + distance));
    // Fewer than 512 symbols are not recognised as a table.
    let others = (0..512).map(|index| (format!("t{index:x}"), TEXT + index));
    let all: Vec<_> = named.into_iter().chain(others).collect();
    [Before, Behind, Relative, SelfRelative]
        .map(|layout| kallsyms::symbol_table(&all, layout, RODATA + 64))
        .to_vec()
}
