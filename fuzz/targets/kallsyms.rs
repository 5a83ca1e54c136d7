//! Symbol tables.
#![no_main]

use bartizan_fuzz::small_kernel::{RODATA, TEXT};
use bartizan_introspection::kallsyms::{MAX_SYMBOLS, Symbols};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(symbols) = Symbols::decode(data, RODATA + 64, TEXT) else {
        return;
    };
    assert!((1..=MAX_SYMBOLS).contains(&symbols.len()));
    assert_eq!(symbols.iter().count(), symbols.len());
    for symbol in symbols.iter() {
        assert!(!symbol.name.is_empty());
        // A name stands for its address, or for several ones and so for none.
        if let Some(address) = symbols.address(symbol.name) {
            assert_eq!(address, symbol.address);
        }
    }
    assert!(
        symbols
            .iter()
            .any(|symbol| symbol.name == "_text" && symbol.address == TEXT)
    );
});
