use proptest::prelude::*;

use super::*;
use crate::synthetic::{Layout, RODATA, TEXT, symbol_table};

const LAYOUTS: [Layout; 4] = [
    Layout::Before,
    Layout::Behind,
    Layout::Relative,
    Layout::SelfRelative,
];

/// Symbols like a kernel's; of these layouts only the first two can hold absolute ones.
fn symbols(layout: Layout) -> Vec<(String, u64)> {
    let mut symbols: Vec<_> = (0..700_u64)
        .map(|index| (format!("t__x64_sys_{index}_init"), TEXT + 64 * index))
        .collect();
    symbols.insert(3, ("T_text".into(), TEXT));
    symbols.push(("Tsecurity_twice".into(), TEXT + 5));
    symbols.push(("ttwice".into(), TEXT + 6));
    symbols.push(("Tsame".into(), TEXT + 7));
    symbols.push(("Wsame".into(), TEXT + 7));
    symbols.push((format!("b{}", "long".repeat(60)), TEXT + 0x100_0000));
    if matches!(layout, Layout::Before | Layout::Behind) {
        symbols.push(("Apercpu".into(), 0x1_2340));
    }
    symbols
}

#[test]
fn every_layout_is_decoded() {
    for layout in LAYOUTS {
        let expected = symbols(layout);
        let table = symbol_table(&expected, layout, RODATA);
        let decoded = Symbols::decode(&table, RODATA, TEXT).unwrap();
        let found: Vec<_> = decoded
            .iter()
            .map(|symbol| {
                let kind = char::from(symbol.kind);
                (format!("{kind}{}", symbol.name), symbol.address)
            })
            .collect();
        assert_eq!(found, expected, "{layout:?}");
        assert_eq!(decoded.len(), expected.len());
    }
}

#[test]
fn a_name_stands_for_an_address_only_if_it_is_one() {
    let mut all = symbols(Layout::Before);
    all.push(("Dtwice".into(), TEXT + 9));
    let decoded = Symbols::decode(&symbol_table(&all, Layout::Before, 0), 0, TEXT).unwrap();
    assert_eq!(decoded.address("security_twice"), Some(TEXT + 5));
    assert_eq!(decoded.address("twice"), None);
    assert_eq!(decoded.address("same"), Some(TEXT + 7));
    assert_eq!(decoded.address("percpu"), Some(0x1_2340));
    assert_eq!(decoded.address("absent"), None);
}

#[test]
fn what_lacks_is_told() {
    let table = symbol_table(&symbols(Layout::Behind), Layout::Behind, RODATA);
    let decode = |table: &[u8], text| Symbols::decode(table, RODATA, text).unwrap_err();
    assert_eq!(decode(&[], TEXT), KallsymsError::NoTokenTable);
    let text = TEXT + 0x1000;
    assert_eq!(decode(&table, text), KallsymsError::NoAddresses { text });
    let mut damaged = table.clone();
    // A name's length: the markers behind no longer agree.
    damaged[32] ^= 1;
    assert_eq!(decode(&damaged, TEXT), KallsymsError::NoNames);
}

#[test]
fn a_search_among_decoys_ends() {
    // Every word is a plausible count and starts a walk that fails late.
    let mut hostile: Vec<u8> = 100_000_u32.to_le_bytes().repeat(1 << 18);
    hostile.extend(symbol_table(&symbols(Layout::Behind), Layout::Behind, RODATA).split_off(9000));
    let _ = Symbols::decode(&hostile, RODATA, TEXT);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn names_come_back(
        names in proptest::collection::hash_set("[A-Za-z_.$0-9]{1,100}", 600..700),
        layout in 0..4_usize,
    ) {
        let layout = LAYOUTS[layout];
        let mut all: Vec<_> = (TEXT + 1..)
            .zip(names)
            .map(|(address, name)| (format!("t{name}"), address))
            .filter(|(name, _)| name != "t_text")
            .collect();
        all.push(("T_text".into(), TEXT));
        let table = symbol_table(&all, layout, RODATA);
        let decoded = Symbols::decode(&table, RODATA, TEXT).unwrap();
        for (name, address) in &all {
            prop_assert_eq!(decoded.address(&name[1..]), Some(*address));
        }
    }

    #[test]
    fn damage_never_panics(
        layout in 0..4_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let layout = LAYOUTS[layout];
        let mut table = symbol_table(&symbols(layout), layout, RODATA);
        for (at, byte) in damage {
            let at = at.index(table.len());
            table[at] = byte;
        }
        let _ = Symbols::decode(&table, RODATA, TEXT);
        let cut = cut.index(table.len());
        let _ = Symbols::decode(&table[..cut], RODATA, TEXT);
    }
}
