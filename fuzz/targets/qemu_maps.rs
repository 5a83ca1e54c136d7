//! Where a process maps the RAM file: the text of its `/proc/PID/maps`.
#![no_main]

use bartizan_write_tracking::{FileId, Mapped, Mappings};
use libfuzzer_sys::fuzz_target;

const RAM: FileId = FileId {
    major: 0,
    minor: 1,
    inode: 7,
};

fuzz_target!(|data: &[u8]| {
    let Ok(mappings) = Mappings::parse(data, RAM) else {
        return;
    };
    let mapped = mappings.as_slice();
    assert!(!mapped.is_empty(), "nothing that was found");
    for pair in mapped.windows(2) {
        let [one, next] = [pair[0].file(), pair[1].file()];
        assert!(
            one.end() <= next.offset(),
            "a page of the file is mapped twice"
        );
    }
    let mut by_address = mapped.to_vec();
    by_address.sort_by_key(|piece| piece.address().start());
    for pair in by_address.windows(2) {
        let [one, next] = [pair[0].address(), pair[1].address()];
        assert!(one.end() <= next.start(), "an address maps two pages");
    }
    // The same, as the kernel would say it.
    let text: String = by_address.iter().map(line).collect();
    let again = Mappings::parse(text.as_bytes(), RAM).expect("they are right");
    assert_eq!(again, mappings);
});

fn line(piece: &Mapped) -> String {
    let (address, file) = (piece.address(), piece.file());
    let (start, end, offset) = (address.start(), address.end(), file.offset());
    format!("{start:08x}-{end:08x} rw-s {offset:08x} 00:01 7 /memfd:ram (deleted)\n")
}
