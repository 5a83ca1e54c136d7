//! Type information, and what is looked up in it.
#![no_main]

use bartizan_introspection::btf::{Btf, MAX_TYPES};
use libfuzzer_sys::fuzz_target;

const TYPES: [&str; 6] = [
    "task_struct",
    "mm_struct",
    "mount",
    "dentry",
    "unsigned int",
    "system_states",
];
const PATHS: [&[&str]; 5] = [
    &[],
    &["tgid"],
    &["tasks", "next"],
    &["mnt", "mnt_root"],
    &["d_name", "len"],
];

fuzz_target!(|data: &[u8]| {
    let Ok(types) = Btf::parse(data) else {
        return;
    };
    assert!(types.len() <= MAX_TYPES && types.len() <= data.len() / 12);
    for name in TYPES {
        for path in PATHS {
            if let Some(field) = types.field(name, path) {
                assert!(field.bits.is_none_or(|bits| bits.start < 8));
            }
        }
        let _ = (
            types.size_of(name),
            types.enumerator(name, "SYSTEM_RUNNING"),
        );
    }
});
