//! Uncompressed kernels: the ELF file, and the profile that is made of it.
#![no_main]

use bartizan_introspection::KernelProfile;
use bartizan_introspection::vmlinux::{START_KERNEL_MAP, Vmlinux};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(vmlinux) = Vmlinux::parse(data) else {
        assert!(KernelProfile::from_vmlinux(data).is_err());
        return;
    };
    assert!(vmlinux.text >= START_KERNEL_MAP);
    assert!(!vmlinux.rodata.is_empty() && !vmlinux.btf.is_empty());
    if let Ok(profile) = KernelProfile::from_vmlinux(data) {
        assert_eq!(profile.text(), vmlinux.text);
        assert_eq!(profile.symbol("_text"), Some(vmlinux.text));
        assert!(profile.banner().starts_with("Linux version "));
    }
});
