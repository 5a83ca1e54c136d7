use proptest::prelude::*;

use super::*;
use crate::synthetic::BtfBuilder;

/// `struct task { int pid; union { struct { u8 flag; }; long word; }; bits; int array[3][2]; typedef const list }`.
fn section() -> Vec<u8> {
    let mut btf = BtfBuilder::default();
    let int = btf.int("int", 4);
    let byte = btf.int("u8", 1);
    let pointer = btf.pointer(int);
    let inner = btf.structure("", 2, &[("", byte, 0, 0), ("flag", byte, 8, 0)]);
    let either = btf.union("", 8, &[("", inner, 0, 0), ("word", pointer, 0, 0)]);
    let row = btf.array(int, 2);
    let rows = btf.array(row, 3);
    let list = btf.structure(
        "list",
        16,
        &[("next", pointer, 0, 0), ("prev", pointer, 64, 0)],
    );
    let list_t = btf.typedef("list_t", list);
    let constant = btf.constant(list_t);
    btf.structure(
        "task",
        72,
        &[
            ("pid", int, 0, 0),
            ("", either, 64, 0),
            ("low", int, 128, 3),
            ("high", int, 139, 1),
            ("table", rows, 160, 0),
            ("links", constant, 384, 0),
        ],
    );
    btf.typedef("task", int);
    btf.enumeration("state", &[("OFF", 0), ("ON", 0xffff_ffff)]);
    btf.section()
}

fn whole(offset: u64, size: u64) -> Option<Field> {
    let bits = None;
    Some(Field { offset, size, bits })
}

#[test]
fn members_are_found_through_what_is_anonymous_or_aliased() {
    let btf = Btf::parse(&section()).unwrap();
    assert_eq!(btf.field("task", &["pid"]), whole(0, 4));
    assert_eq!(btf.field("task", &["flag"]), whole(9, 1));
    assert_eq!(btf.field("task", &["word"]), whole(8, 8));
    assert_eq!(btf.field("task", &["table"]), whole(20, 24));
    assert_eq!(btf.field("task", &["links", "prev"]), whole(56, 8));
    assert_eq!(btf.field("list_t", &["prev"]), whole(8, 8));
    assert_eq!(btf.field("task", &[]), whole(0, 72));
    assert_eq!(btf.field("task", &["absent"]), None);
    assert_eq!(btf.field("task", &[""]), None);
    assert_eq!(btf.field("task", &["pid", "pid"]), None);
    assert_eq!(btf.field("absent", &["pid"]), None);
}

#[test]
fn bit_fields_tell_their_bits() {
    let btf = Btf::parse(&section()).unwrap();
    let low = btf.field("task", &["low"]).unwrap();
    assert_eq!(
        (low.offset, low.bits),
        (16, Some(Bits { start: 0, width: 3 }))
    );
    let high = btf.field("task", &["high"]).unwrap();
    assert_eq!(
        (high.offset, high.bits),
        (17, Some(Bits { start: 3, width: 1 }))
    );
}

#[test]
fn sizes_and_enumerators() {
    let btf = Btf::parse(&section()).unwrap();
    assert_eq!(btf.size_of("task"), Some(72));
    assert_eq!(btf.size_of("list_t"), Some(16));
    assert_eq!(btf.size_of("int"), Some(4));
    assert_eq!(btf.size_of("state"), Some(4));
    assert_eq!(btf.size_of("absent"), None);
    assert_eq!(btf.enumerator("state", "ON"), Some(0xffff_ffff));
    assert_eq!(btf.enumerator("state", "absent"), None);
    assert_eq!(btf.enumerator("task", "ON"), None);
}

#[test]
fn circles_and_exponential_graphs_end() {
    let mut btf = BtfBuilder::default();
    let itself = btf.next();
    btf.structure("circle", 8, &[("", itself, 0, 0), ("", itself, 0, 0)]);
    let alias = btf.next();
    btf.typedef("alias", alias);
    let array = btf.next();
    btf.array(array, 1);
    btf.structure("odd", 8, &[("array", array, 0, 0), ("alias", alias, 0, 0)]);
    let mut last = btf.int("int", 4);
    for _ in 0..100 {
        let members = [("", last, 0, 0); 30];
        last = btf.structure("wide", 8, &members);
    }
    let btf = Btf::parse(&btf.section()).unwrap();
    assert_eq!(btf.field("circle", &["x"]), None);
    assert_eq!(btf.size_of("alias"), None);
    assert_eq!(btf.field("alias", &["x"]), None);
    assert_eq!(btf.field("odd", &["array"]), None);
    assert_eq!(btf.field("odd", &["alias"]), None);
    assert_eq!(btf.field("wide", &["x"]), None);
}

#[test]
fn what_is_wrong_is_told() {
    let parse = |section: &[u8]| Btf::parse(section).unwrap_err();
    assert_eq!(parse(b""), BtfError::NoMagic);
    assert_eq!(parse(&[0x9f, 0xeb, 2, 0]), BtfError::NoMagic);
    let whole = section();
    for end in 4..whole.len() {
        assert_eq!(parse(&whole[..end]), BtfError::Truncated);
    }
    let mut unknown = BtfBuilder::default();
    unknown.int("int", 4);
    unknown.kind(30);
    let expected = BtfError::UnknownKind { id: 2, kind: 30 };
    assert_eq!(parse(&unknown.section()), expected);
}

proptest! {
    #[test]
    fn damage_never_panics(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
    ) {
        let mut section = section();
        for (at, byte) in damage {
            let at = at.index(section.len());
            section[at] = byte;
        }
        if let Ok(btf) = Btf::parse(&section) {
            for path in [&["pid"][..], &["flag"], &["links", "prev"], &["absent"], &["table"]] {
                let _ = btf.field("task", path);
            }
            let _ = (btf.size_of("task"), btf.size_of("list_t"), btf.enumerator("state", "ON"));
        }
    }
}
