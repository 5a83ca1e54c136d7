use std::sync::Arc;

use bartizan_guest_memory::walk::Levels;
use bartizan_guest_memory::{Gpa, Gva};
use proptest::prelude::*;

use super::*;
use crate::profile::KernelProfile;
use crate::synthetic::{BANNER, RODATA, RunningKernel, TEXT, landmark, vmlinux};

const TEXT_AT: u64 = 0x60_0000;
const HIGH_AT: u64 = 0x1_0020_0000;
const SLIDE: u64 = 0x1ac0_0000;

fn profile() -> Arc<KernelProfile> {
    Arc::new(KernelProfile::from_vmlinux(&vmlinux()).unwrap())
}

#[test]
fn the_kernel_is_found_wherever_kaslr_put_it() {
    for (text, slide, levels) in [
        (0x20_0000, 0, Levels::Four),
        (TEXT_AT, SLIDE, Levels::Four),
        (TEXT_AT, SLIDE, Levels::Five),
        (HIGH_AT, 0x20_0000, Levels::Five),
    ] {
        let ram = RunningKernel::at(text, slide, levels);
        let kernel = Kernel::locate(&profile(), &ram).unwrap();
        assert_eq!((kernel.text(), kernel.slide()), (Gpa(text), slide));
        assert_eq!(kernel.root().levels, levels);
        assert_eq!(kernel.symbol("linux_banner"), Some(Gva(RODATA + slide)));
        assert_eq!(kernel.symbol("little"), Some(Gva(0x1000)));
        let mut banner = vec![0; BANNER.len()];
        kernel
            .read_virtual(&ram, Gva(RODATA + slide), &mut banner)
            .unwrap();
        assert_eq!(banner, BANNER.as_bytes());
        let again = Kernel::at(&profile(), &ram, kernel.text()).unwrap();
        assert_eq!(again.slide(), slide);
    }
}

#[test]
fn a_process_page_table_is_found_through_the_kernels() {
    let ram = RunningKernel::at(TEXT_AT, SLIDE, Levels::Four);
    let kernel = Kernel::locate(&profile(), &ram).unwrap();
    let root = kernel.user_root(&ram, Gva(TEXT + SLIDE + 0x3000)).unwrap();
    assert_eq!(root.table, Gpa(TEXT_AT + 0x3000));
    assert!(kernel.user_root(&ram, Gva(0)).is_err());
}

#[test]
fn no_kernel_is_not_found() {
    let ram = RunningKernel::nowhere();
    assert_eq!(
        Kernel::locate(&profile(), &ram).unwrap_err(),
        LocateError::NotFound
    );
    let at = Kernel::at(&profile(), &ram, Gpa(TEXT_AT));
    assert_eq!(at.unwrap_err(), LocateError::NotFound);
    let outside = Kernel::at(&profile(), &ram, Gpa(u64::MAX));
    assert_eq!(outside.unwrap_err(), LocateError::NotFound);
}

#[test]
fn two_kernels_are_believed_neither_but_a_known_one_is() {
    let mut ram = RunningKernel::at(TEXT_AT, SLIDE, Levels::Four);
    ram.add(HIGH_AT, SLIDE, Levels::Four);
    let expected = LocateError::Ambiguous {
        first: Gpa(TEXT_AT),
        second: Gpa(HIGH_AT),
    };
    assert_eq!(Kernel::locate(&profile(), &ram).unwrap_err(), expected);
    let known = Kernel::at(&profile(), &ram, Gpa(HIGH_AT)).unwrap();
    assert_eq!(known.text(), Gpa(HIGH_AT));
}

#[test]
fn a_kernel_that_is_not_up_is_not_found() {
    // Not started, shut down by a reboot, and rubbish before the image is complete.
    for state in [0, 6, 0xffff_ffff] {
        let mut ram = RunningKernel::at(TEXT_AT, SLIDE, Levels::Four);
        ram.word(TEXT_AT + landmark::SYSTEM_STATE, state);
        assert_eq!(
            Kernel::locate(&profile(), &ram).unwrap_err(),
            LocateError::NotFound
        );
    }
}

#[test]
fn a_kernel_that_was_found_is_not_exchanged_for_a_counterfeit() {
    let mut ram = RunningKernel::at(TEXT_AT, SLIDE, Levels::Four);
    let mut place = KernelPlace::default();
    place.locate(&profile(), &ram).unwrap();
    // A counterfeit beside it does no harm; nor does it while the true one shuts down, nor afterwards.
    ram.add(HIGH_AT, SLIDE, Levels::Four);
    let kernel = place.locate(&profile(), &ram).unwrap();
    assert_eq!(kernel.text(), Gpa(TEXT_AT));
    ram.word(TEXT_AT + landmark::SYSTEM_STATE, 6);
    assert_eq!(
        Kernel::locate(&profile(), &ram).unwrap().text(),
        Gpa(HIGH_AT)
    );
    let gone = LocateError::Gone { text: Gpa(TEXT_AT) };
    assert_eq!(place.locate(&profile(), &ram).unwrap_err(), gone);
    // Nor by whoever takes the place up.
    let mut taken_up = KernelPlace::new(place.text());
    assert_eq!(taken_up.locate(&profile(), &ram).unwrap_err(), gone);
    ram.word(TEXT_AT + landmark::SYSTEM_STATE, 3);
    assert!(place.locate(&profile(), &ram).is_ok());
    assert!(taken_up.locate(&profile(), &ram).is_ok());
}

#[test]
fn what_contradicts_itself_is_no_kernel() {
    for (distance, word) in [
        (landmark::PHYS_BASE, 0x1234),
        (landmark::PHYS_BASE, u64::MAX),
        (landmark::TOP_TABLE + 511 * 8, 0),
        (RODATA - TEXT + 40, 0),
    ] {
        let mut ram = RunningKernel::at(TEXT_AT, SLIDE, Levels::Four);
        ram.word(TEXT_AT + distance, word);
        let refused = Kernel::locate(&profile(), &ram).unwrap_err();
        assert_eq!(refused, LocateError::NotFound, "{distance:#x}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in RAM, a kernel is found where its banner and its page tables agree, or not at all.
    #[test]
    fn what_is_found_in_hostile_ram_is_where_its_banner_is(
        words in proptest::collection::vec((0..0x3_0000_u64, any::<u64>()), 1..64),
        aimed in proptest::collection::vec((0..3_usize, any::<u64>()), 0..4),
    ) {
        let mut ram = RunningKernel::at(TEXT_AT, SLIDE, Levels::Five);
        for (at, word) in words {
            ram.word(TEXT_AT + 0x14_0000 + at / 8 * 8, word);
        }
        for (which, word) in aimed {
            let at = [landmark::PHYS_BASE, landmark::SYSTEM_STATE, landmark::TOP_TABLE + 4088];
            ram.word(TEXT_AT + at[which], word);
        }
        if let Ok(kernel) = Kernel::locate(&profile(), &ram) {
            prop_assert_eq!(kernel.text(), Gpa(TEXT_AT));
            let mut banner = vec![0; BANNER.len()];
            let at = kernel.symbol("linux_banner").unwrap();
            kernel.read_virtual(&ram, at, &mut banner).unwrap();
            prop_assert_eq!(banner, BANNER.as_bytes());
        }
    }
}
