//! Numbers of the verifier's that are ahead of their time.
//!
//! Sets and commands are numbered by the verifier: each is one more than the one before, and never below the time in seconds since the Unix
//! epoch. None below what was taken is ever taken again.
//!
//! Known attack: whoever takes the verifier over once sends a set with the highest number that there is, and from then on no other is taken,
//! neither of the attacker's nor of whoever has won the verifier back.

use std::num::NonZeroU64;

/// How far a number may be ahead of this machine's clock, in seconds: by the difference of two clocks, which certificates that last an
/// hour bound, and by changes that were faster than one a second.
const MARGIN_S: u64 = 3600;

/// Whether no verifier that counts as it should has come to that number.
pub(super) fn is_ahead(number: NonZeroU64, now_s: u64) -> bool {
    number.get() > now_s.saturating_add(MARGIN_S)
}
