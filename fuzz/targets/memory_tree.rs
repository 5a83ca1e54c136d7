//! QEMU's word for where a guest's RAM lies: the text of `info mtree -f`.
#![no_main]

use bartizan_hypervisor::qemu::layout::{parse, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(tree) = str::from_utf8(data) else {
        return;
    };
    let Ok(ranges) = parse(tree, "ram") else {
        return;
    };
    for range in &ranges {
        assert!(range.size > 0);
        let end = range
            .address
            .checked_add(range.size)
            .expect("no range wraps");
        assert!(
            end <= 0xa_0000 || range.address >= 0x10_0000,
            "the legacy hole is no RAM"
        );
        assert!(range.file_offset.checked_add(range.size).is_some());
    }
    verify(tree, "ram", &ranges).expect("what it says is what it says");
});
