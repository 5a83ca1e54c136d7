//! For how long a guest is asked to stand still.

use std::time::Duration;

/// A fixed part, 4 ms a MiB to copy, a tenth of what memory gives, and ten times what it took
/// to resolve the same just before: tasks, mappings and page tables, however many there are.
pub(super) fn lease(bytes: u64, resolving: Duration) -> Duration {
    const FIXED: Duration = Duration::from_millis(250);
    const MEBIBYTE: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(5000);
    let mebibytes = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
    FIXED
        .saturating_add(MEBIBYTE.saturating_mul(mebibytes))
        .saturating_add(resolving.saturating_mul(10))
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Known failure: a large honest program whose lease ran out each time it was asked for.
    #[test]
    fn a_lease_grows_with_what_is_copied_and_with_what_it_took_to_find() {
        let ms = Duration::from_millis;
        assert_eq!(lease(0, Duration::ZERO), ms(250));
        assert_eq!(lease(1, Duration::ZERO), ms(254));
        assert_eq!(lease(64 * MIB, Duration::ZERO), ms(506));
        assert_eq!(lease(0, ms(20)), ms(450));
        assert_eq!(lease(512 * MIB, ms(140)), ms(3698));
        assert_eq!(lease(u64::MAX, Duration::MAX), ms(5000));
    }
}
