//! Event indices: by which entry of a ring one side wants to hear of the other (virtio 1.2 sections 2.7.7 and 2.7.10).

/// Whether who moved an index from `old` to `new` passed the entry of number `event`, and has to tell. All are free-running.
pub(super) const fn passes(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_entry_that_is_waited_for_is_told_of_and_no_other() {
        // As the specification's text has it, and where indices wrap around.
        for base in [0, 7, u16::MAX - 1, u16::MAX, 0x7fff] {
            let at = |step: u16| base.wrapping_add(step);
            assert!(passes(at(0), at(0), at(1)));
            assert!(!passes(at(1), at(0), at(1)));
            assert!(passes(at(1), at(0), at(2)));
            assert!(!passes(at(0), at(1), at(2)));
            assert!(!passes(at(0), at(0), at(0)));
        }
    }

    proptest! {
        /// As one finds by going through all entries.
        #[test]
        fn it_is_among_the_entries_that_were_passed(event: u16, old: u16, moved in 0..3000_u16, near in 0..3010_u16, is_near: bool) {
            let event = if is_near { old.wrapping_sub(5).wrapping_add(near) } else { event };
            let mut entries = (0..moved).map(|step| old.wrapping_add(step));
            let expected = entries.any(|entry| entry == event);
            prop_assert_eq!(passes(event, old, old.wrapping_add(moved)), expected);
        }
    }
}
