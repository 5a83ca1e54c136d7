//! Hash tables of words.

/// A table that is drawn anew for each: SipHash takes longer than all else of a decision.
///
/// Known attack: an author who writes words that all fall into one place makes each look-up read them all. Where a word falls depends on
/// numbers that each process draws for itself (foldhash), and that no answer shows.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
