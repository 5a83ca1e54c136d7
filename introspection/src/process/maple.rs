//! The maple tree, in which a process's mappings are kept since Linux 6.1 (`lib/maple_tree.c`).
//!
//! A node is 256 bytes, aligned to its size; the low byte of a pointer to it encodes its type in bits
//! 3 to 6. Slot `i` covers the indices from the end of slot `i − 1` to `pivot[i]`, both included; a
//! pivot of 0 after the first, or a missing last one, stands for the end of the node's own range.

use super::ProcessError;
use super::layout::{MAPLE_NODE, MapleLayout, NodeLayout};
use super::view::{KernelView, Record};

/// Deepest tree followed (`MAPLE_HEIGHT_MAX`).
const MAX_HEIGHT: usize = 31;
/// Most nodes followed: a tree of [`super::MAX_AREAS`] mappings has fewer even with one to a node.
const MAX_NODES: usize = 2 * super::MAX_AREAS;
/// `XA_ZERO_ENTRY` of `include/linux/xarray.h`: a reserved range that holds nothing yet.
const ZERO_ENTRY: u64 = 257 << 2 | 2;

/// An occupied range: first and last index, and the pointer stored for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) pointer: u64,
}

/// Visits every entry below the root pointer `root` in ascending order.
///
/// Bounded in depth and nodes; ranges only narrow on the way down and never go back, whatever the
/// nodes say, so that no entry is visited twice for one index.
pub(super) fn walk(
    view: &impl KernelView,
    layout: &MapleLayout,
    root: u64,
    mut visit: impl FnMut(Entry) -> Result<(), ProcessError>,
) -> Result<(), ProcessError> {
    if root == 0 {
        return Ok(());
    }
    if !is_node(root) {
        // A tree of one entry at index 0: no process has such a mapping.
        return Err(inconsistent(root, "the tree's root is no node"));
    }
    let mut path = vec![Cursor::open(view, layout, root, 0, u64::MAX)?];
    let mut nodes = 1;
    while let Some(cursor) = path.last_mut() {
        let Some(entry) = cursor.next()? else {
            path.pop();
            continue;
        };
        if cursor.leaf {
            match entry.pointer {
                0 | ZERO_ENTRY => {}
                pointer if pointer & 3 != 0 => {
                    return Err(inconsistent(cursor.address, "a leaf holds no pointer"));
                }
                _ => visit(entry)?,
            }
            continue;
        }
        if !is_node(entry.pointer) {
            return Err(inconsistent(cursor.address, "an inner slot holds no node"));
        }
        nodes += 1;
        if nodes > MAX_NODES || path.len() >= MAX_HEIGHT {
            return Err(ProcessError::TooMany {
                what: "maple tree nodes",
                limit: MAX_NODES,
            });
        }
        path.push(Cursor::open(
            view,
            layout,
            entry.pointer,
            entry.first,
            entry.last,
        )?);
    }
    Ok(())
}

/// A copied node and how far it was visited.
struct Cursor {
    address: u64,
    node: Record<MAPLE_NODE>,
    layout: NodeLayout,
    leaf: bool,
    slot: u64,
    /// Where the next slot begins; `None` past the node's end.
    first: Option<u64>,
    last: u64,
}

impl Cursor {
    fn open(
        view: &impl KernelView,
        layout: &MapleLayout,
        pointer: u64,
        first: u64,
        last: u64,
    ) -> Result<Self, ProcessError> {
        let address = pointer & !0xff;
        // enum maple_type; maple_dense (0) is not used for mappings.
        let (layout, leaf) = match pointer >> 3 & 0xf {
            1 => (layout.range, true),
            2 => (layout.range, false),
            3 => (layout.arange, false),
            _ => return Err(inconsistent(address, "its type is unknown")),
        };
        let node = Record::read(view, "maple_node", address, MAPLE_NODE)?;
        // ma_dead_node(): a node that was replaced is its own parent.
        if node.u64(0) & !0xff == address {
            return Err(inconsistent(address, "it is dead"));
        }
        Ok(Self {
            address,
            node,
            layout,
            leaf,
            slot: 0,
            first: Some(first),
            last,
        })
    }

    /// The next slot and its range, whatever it holds.
    fn next(&mut self) -> Result<Option<Entry>, ProcessError> {
        let (slot, Some(first)) = (self.slot, self.first) else {
            return Ok(None);
        };
        if slot >= self.layout.slot_count {
            return Err(inconsistent(self.address, "its slots end before its range"));
        }
        let last = match self.node.u64(self.layout.pivots + 8 * slot) {
            _ if slot >= self.layout.pivot_count => self.last,
            0 if slot > 0 => self.last,
            pivot => pivot,
        };
        if last < first || last > self.last {
            return Err(inconsistent(self.address, "a pivot lies outside its range"));
        }
        self.slot += 1;
        self.first = if last == self.last {
            None
        } else {
            last.checked_add(1)
        };
        Ok(Some(Entry {
            first,
            last,
            pointer: self.node.u64(self.layout.slots + 8 * slot),
        }))
    }
}

/// `xa_is_node()`: bit 1 marks a node. The root pointer carries it; inner slots carry bit 2
/// (`MAPLE_ENODE_NULL`) instead.
const fn is_node(pointer: u64) -> bool {
    pointer > 4096 && pointer & 0b110 != 0
}

const fn inconsistent(address: u64, finding: &'static str) -> ProcessError {
    ProcessError::Inconsistent {
        structure: "maple_node",
        address,
        finding,
    }
}
