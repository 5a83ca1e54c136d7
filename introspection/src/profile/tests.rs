use proptest::prelude::*;

use super::*;
use crate::synthetic::{BANNER, RODATA, TEXT, bzimage, vmlinux};

#[test]
fn a_boot_image_becomes_a_profile() {
    let profile = KernelProfile::from_bzimage(&bzimage(&vmlinux())).unwrap();
    assert_eq!(profile.banner(), BANNER);
    assert_eq!(profile.text(), TEXT);
    assert_eq!(profile.symbol("linux_banner"), Some(RODATA));
    assert_eq!(profile.symbol("absent"), None);
    assert_eq!(profile.size_of("system_states"), Some(4));
    assert_eq!(profile.symbols().len(), 2006);
}

#[test]
fn what_is_no_boot_image_is_told() {
    let image = bzimage(&vmlinux());
    let refused = |image: &[u8]| match KernelProfile::from_bzimage(image).unwrap_err() {
        ProfileError::BzImage(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(refused(&vmlinux()), BzImageError::NoMagic);
    assert_eq!(refused(&image[..image.len() - 33]), BzImageError::Truncated);
    let mut old = image.clone();
    old[0x206] = 7;
    assert_eq!(refused(&old), BzImageError::TooOld { major: 2, minor: 7 });
    let mut far = image;
    far[0x248..0x250].fill(0xff);
    assert_eq!(refused(&far), BzImageError::Truncated);
}

#[test]
fn another_machines_kernel_is_told() {
    let mut kernel = vmlinux();
    kernel[18] = 183;
    let refused = KernelProfile::from_vmlinux(&kernel).unwrap_err();
    assert!(matches!(
        refused,
        ProfileError::Vmlinux(VmlinuxError::Machine(183))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damage_never_panics(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        headers in proptest::collection::vec((0..0x250_usize, any::<u8>()), 0..4),
        elf in proptest::collection::vec((0..176_usize, any::<u8>()), 0..4),
    ) {
        let mut kernel = vmlinux();
        for (at, byte) in damage {
            let at = at.index(kernel.len());
            kernel[at] = byte;
        }
        for (at, byte) in elf {
            kernel[at] = byte;
        }
        let _ = KernelProfile::from_vmlinux(&kernel);
        let mut image = bzimage(&kernel);
        for (at, byte) in headers {
            image[at] = byte;
        }
        let _ = KernelProfile::from_bzimage(&image);
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = KernelProfile::from_bzimage(&bytes);
        let _ = KernelProfile::from_vmlinux(&bytes);
    }
}
