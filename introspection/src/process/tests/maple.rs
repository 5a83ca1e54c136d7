use super::kernel::{FakeKernel, LAYOUT, LEAF_NODE, ROOT_NODE};
use crate::process::ProcessError;
use crate::process::maple::{Entry, walk};

const POINTER: u64 = 0xffff_8880_1234_5000;
const LEAF: u64 = LEAF_NODE | 1 << 3 | 4;

fn entries(kernel: &FakeKernel, root: u64) -> Result<Vec<Entry>, ProcessError> {
    let mut entries = Vec::new();
    walk(kernel, &LAYOUT.maple, root, |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

fn finding(result: Result<Vec<Entry>, ProcessError>) -> &'static str {
    match result {
        Err(ProcessError::Inconsistent { finding, .. }) => finding,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_tree_has_no_entry() {
    assert_eq!(entries(&FakeKernel::new(), 0).unwrap(), []);
}

#[test]
fn a_full_leaf_ends_with_the_range_of_its_parent() {
    let mut kernel = FakeKernel::new();
    for slot in 0..16 {
        if slot < 15 {
            kernel.put_u64(LEAF_NODE + 8 + 8 * slot, 0x1000 * (slot + 1) - 1);
        }
        kernel.put_u64(LEAF_NODE + 128 + 8 * slot, POINTER + 0x100 * slot);
    }
    let entries = entries(&kernel, LEAF).unwrap();
    assert_eq!(entries.len(), 16);
    assert_eq!(
        entries[15],
        Entry {
            first: 0xf000,
            last: u64::MAX,
            pointer: POINTER + 0xf00
        }
    );
}

#[test]
fn a_reserved_range_is_passed_over() {
    let mut kernel = FakeKernel::new();
    kernel.put_u64(LEAF_NODE + 8, 0xfff);
    kernel.put_u64(LEAF_NODE + 128, 257 << 2 | 2);
    assert_eq!(entries(&kernel, LEAF).unwrap(), []);
}

#[test]
fn a_node_below_itself_ends_at_the_height_limit() {
    let mut kernel = FakeKernel::new();
    let this = ROOT_NODE | 3 << 3 | 2;
    kernel.put_u64(ROOT_NODE + 8, u64::MAX);
    kernel.put_u64(ROOT_NODE + 80, this);
    assert!(matches!(
        entries(&kernel, this),
        Err(ProcessError::TooMany { .. })
    ));
}

#[test]
fn damage_is_named() {
    let mut dead = FakeKernel::new();
    dead.put_u64(LEAF_NODE, LEAF_NODE);
    assert_eq!(finding(entries(&dead, LEAF)), "it is dead");

    let mut backwards = FakeKernel::new();
    backwards.put_u64(LEAF_NODE + 8, 0x2fff);
    backwards.put_u64(LEAF_NODE + 16, 0x1fff);
    assert_eq!(
        finding(entries(&backwards, LEAF)),
        "a pivot lies outside its range"
    );

    let mut odd = FakeKernel::new();
    odd.put_u64(LEAF_NODE + 128, POINTER + 1);
    assert_eq!(finding(entries(&odd, LEAF)), "a leaf holds no pointer");

    assert_eq!(
        finding(entries(&FakeKernel::new(), LEAF_NODE | 9 << 3 | 4)),
        "its type is unknown"
    );
    assert_eq!(
        finding(entries(&FakeKernel::new(), POINTER)),
        "the tree's root is no node"
    );
}
