//! From a request to the rules that match it, without looking at each.
//!
//! Rules of a kind stand in their order, and have its places as numbers. Of each field that some rule looks at there is a dimension,
//! which knows of a value which rules it satisfies. The rules that match are in the sets of all dimensions; the first of them is found
//! word by word, where a summary skips all words in which some dimension has none.
//!
//! ```text
//!              place 0 1 2 3 …
//!  address        [ 1 0 1 1 ]   the rules that do not look at it, and those that its value satisfies
//!  port           [ 0 1 1 1 ]
//!  and            [ 0 0 1 1 ]   the first is place 2
//! ```

mod constraint;
mod dimension;
mod field;
mod map;
mod ranges;
mod set;
mod table;
mod tree;
mod words;

pub use field::{Depended, Extent, Field};
pub(crate) use set::Budget;
pub(crate) use table::{NoTable, Outcome, Table};
