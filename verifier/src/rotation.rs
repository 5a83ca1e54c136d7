//! When a short-lived key is replaced: at half its life, so that old and new overlap by the other half.

use std::time::Duration;

use crate::clock::now_s;

/// Longest sleep between two looks: the clock may be set meanwhile, the key replaced on demand.
const LOOK: Duration = Duration::from_secs(5);
/// Least time between two rotations, and between two tries: a certificate that is no good once it is made, since the clock was set
/// meanwhile, makes no storm of others.
const PAUSE: Duration = Duration::from_secs(5);

/// A key with a schedule.
pub trait Rotates {
    /// What is logged.
    const NAME: &'static str;
    /// Why it could not be replaced.
    type Error: std::error::Error;

    /// First and last second of the current certificate's validity.
    fn validity(&self) -> (u64, u64);

    /// Replaces it.
    fn rotate(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Replaces a key for ever, at half its life.
pub async fn keep_fresh<K: Rotates>(key: &K) {
    loop {
        let wait = until_half_life(key.validity(), now_s());
        if wait > Duration::ZERO {
            tokio::time::sleep(wait.min(LOOK)).await;
            continue;
        }
        if let Err(error) = key.rotate().await {
            tracing::error!(%error, key = K::NAME, "key not rotated; trying again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Time left until half the life of a certificate is over; none where it is not valid yet, since it was made while the clock was ahead.
#[must_use]
pub fn until_half_life((not_before, not_after): (u64, u64), now: u64) -> Duration {
    if now < not_before {
        return Duration::ZERO;
    }
    let half = not_before + not_after.saturating_sub(not_before) / 2;
    Duration::from_secs(half.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::until_half_life;

    #[test]
    fn half_a_life() {
        assert_eq!(until_half_life((100, 200), 100), Duration::from_secs(50));
        assert_eq!(until_half_life((100, 200), 150), Duration::ZERO);
        assert_eq!(until_half_life((100, 200), 900), Duration::ZERO);
        assert_eq!(until_half_life((200, 100), 200), Duration::ZERO);
    }

    /// The clock was years ahead, a key was made, and the clock is right again.
    #[test]
    fn a_certificate_of_the_future_is_due() {
        assert_eq!(until_half_life((1000, 2000), 100), Duration::ZERO);
    }
}
