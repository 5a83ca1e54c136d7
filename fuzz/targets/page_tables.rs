//! Page walks. The first byte selects the levels, eight more are the virtual address; the rest is RAM.
#![no_main]

use std::ops::ControlFlow;

use bartizan_fuzz::hostile::Memory;
use bartizan_guest_memory::walk::{
    Levels, Root, TableBudget, WalkError, each_executable, translate,
};
use bartizan_guest_memory::{AddressSpace, Gpa, Gva};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([selector, address @ ..], ram)) = data.split_first_chunk::<9>() else {
        return;
    };
    let (at, memory) = (Gva(u64::from_le_bytes(*address)), Memory::new(ram));
    let levels = match selector & 1 {
        0 => Levels::Four,
        _ => Levels::Five,
    };
    let table = Gpa(u64::from(selector >> 1) << 12);
    let root = Root { table, levels };

    let walked = translate(&memory, root, at);
    assert!(
        memory.take_reads() <= levels.count().into(),
        "a walk of too many steps"
    );
    match walked {
        Ok(page) => {
            let size = page.page_size.bytes();
            assert_eq!(page.gpa.0 % size, at.0 % size);
            assert!((1..=size).contains(&page.bytes_left()));
        }
        Err(WalkError::NotCanonical { .. }) => assert!(!levels.is_canonical(at)),
        Err(_) => assert!(levels.is_canonical(at)),
    }
    read_across_pages(&memory, root, at);
    if let Ok(page) = walked
        && page.user
        && page.executable
        && at.0 >> 63 == 0
    {
        is_shown(&memory, root, at);
    }
});

/// Whoever looks for all that can be executed meets what one walk found, unless there are too many tables before it.
fn is_shown(memory: &Memory<'_>, root: Root, at: Gva) {
    const TABLES: usize = 64;
    let mut last = 0;
    memory.take_reads();
    let found = each_executable(memory, root, &mut TableBudget::new(TABLES), |page| {
        assert!(page.start >= last, "pages out of order");
        last = page.end;
        match at.0 < page.end {
            true => ControlFlow::Break(page),
            false => ControlFlow::Continue(()),
        }
    });
    assert!(memory.take_reads() <= TABLES as u64);
    if let Ok(flow) = found {
        let shown = matches!(flow, ControlFlow::Break(page) if page.contains(&at.0));
        assert!(shown, "an executable page was passed over");
    }
}

/// What is read at once is what is read byte by byte.
fn read_across_pages(memory: &Memory<'_>, root: Root, at: Gva) {
    let space = AddressSpace::new(memory, root);
    let mut bytes = [0; 40];
    if space.read(at, &mut bytes).is_ok() {
        assert!(memory.take_reads() <= 2 * (u64::from(root.levels.count()) + 1));
        for (offset, byte) in (0..).zip(bytes) {
            let next = at.checked_add(offset).expect("what was read does not wrap");
            let page = space.translate(next).expect("what was read is mapped");
            assert_eq!(memory.byte(page.gpa.0), Some(byte));
        }
    }
}
