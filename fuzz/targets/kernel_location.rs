//! Finding a kernel in hostile RAM, which is the input.
#![no_main]

use bartizan_fuzz::hostile::Memory;
use bartizan_fuzz::small_kernel::{BANNER, PROFILE, RODATA};
use bartizan_guest_memory::Gva;
use bartizan_introspection::Kernel;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let memory = Memory::new(data);
    let Ok(kernel) = Kernel::locate(&PROFILE, &memory) else {
        return;
    };
    assert!(kernel.slide() < 1 << 30 && kernel.slide().is_multiple_of(2 << 20));
    let again = Kernel::at(&PROFILE, &memory, kernel.text()).expect("it is still there");
    assert_eq!(
        (again.slide(), again.root()),
        (kernel.slide(), kernel.root())
    );
    let mut banner = [0; BANNER.len()];
    let at = Gva(RODATA + kernel.slide());
    // A page may end within the banner.
    if kernel.read_virtual(&memory, at, &mut banner).is_ok() {
        assert_eq!(banner[0], BANNER.as_bytes()[0]);
    }
    let _ = kernel.user_root(&memory, at);
});
