//! Symbol tables as scripts/kallsyms.c writes them.

use std::iter;

/// Where the offsets stand and how they are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Layout {
    /// Up to 6.3: before the names, percpu symbols absolute.
    Before,
    /// 6.4 to 6.14: behind the tokens.
    Behind,
    /// From 6.15 on: all relative to the base.
    Relative,
    /// From 7.0 on: relative to their own place.
    SelfRelative,
}

/// What bytes 1 to 4 stand for; the others stand for themselves.
const WORDS: [&str; 4] = ["__x64_sys_", "_init", "tT", "Tsecurity_"];

/// The table for `symbols` (kind and name in one, address), to stand at `address`.
pub(crate) fn symbol_table(symbols: &[(String, u64)], layout: Layout, address: u64) -> Vec<u8> {
    let base = symbols
        .iter()
        .map(|&(_, at)| at)
        .filter(|&at| at >> 63 != 0);
    let base = base.min().unwrap_or_default();
    let offset = |place: usize, at: u64| match layout {
        Layout::Before | Layout::Behind if at >> 63 == 0 => u32::try_from(at).unwrap(),
        Layout::Before | Layout::Behind => low(base.wrapping_sub(1).wrapping_sub(at)),
        Layout::Relative => low(at - base),
        Layout::SelfRelative => low(at.wrapping_sub(address + place as u64)),
    };
    let mut table = vec![0xaa; 24];
    let offsets = |table: &mut Vec<u8>| {
        for (_, at) in symbols {
            let value = offset(table.len(), *at);
            table.extend(value.to_le_bytes());
        }
        align(table);
        if layout != Layout::SelfRelative {
            table.extend(base.to_le_bytes());
        }
    };
    if layout == Layout::Before {
        offsets(&mut table);
    }
    table.extend(u32::try_from(symbols.len()).unwrap().to_le_bytes());
    align(&mut table);
    names(&mut table, symbols);
    if layout == Layout::Before {
        table.extend(iter::repeat_n(0x5a, 3 * symbols.len()));
        align(&mut table);
    }
    tokens(&mut table);
    if layout != Layout::Before {
        offsets(&mut table);
    }
    table.extend([0x55; 40]);
    table
}

fn names(table: &mut Vec<u8>, symbols: &[(String, u64)]) {
    let first = table.len();
    let mut markers = Vec::new();
    for (index, (name, _)) in symbols.iter().enumerate() {
        if index % 256 == 0 {
            markers.push(u32::try_from(table.len() - first).unwrap());
        }
        let name = compress(name);
        let length = u16::try_from(name.len()).unwrap();
        let [low, high] = (length << 1).to_le_bytes();
        match high {
            0 => table.push(low >> 1),
            _ => table.extend([low >> 1 | 0x80, high]),
        }
        table.extend(name);
    }
    align(table);
    table.extend(markers.iter().flat_map(|marker| marker.to_le_bytes()));
    align(table);
}

fn compress(name: &str) -> Vec<u8> {
    let mut name = name.to_owned();
    for (code, word) in ('\u{1}'..).zip(WORDS) {
        name = name.replace(word, &code.to_string());
    }
    name.into_bytes()
}

fn tokens(table: &mut Vec<u8>) {
    let first = table.len();
    let mut index = Vec::new();
    for code in 0..=255_u8 {
        index.extend(u16::try_from(table.len() - first).unwrap().to_le_bytes());
        match code {
            0 => {}
            1..=4 => table.extend(WORDS[usize::from(code) - 1].as_bytes()),
            _ => table.push(code),
        }
        table.push(0);
    }
    align(table);
    table.extend(index);
}

fn align(table: &mut Vec<u8>) {
    table.resize(table.len().next_multiple_of(8), 0);
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "offsets are the lower half of a difference"
)]
const fn low(value: u64) -> u32 {
    value as u32
}
