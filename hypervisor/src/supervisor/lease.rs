//! The lease on which a guest stands still.

use std::time::Duration;

use tokio::time::Instant;

/// Longest lease: whatever a measurer asks for, the guest runs on after this.
pub const LONGEST: Duration = Duration::from_secs(5);

/// Whether, since when and how long the guest stands still for its measurer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lease {
    /// It runs.
    #[default]
    None,
    /// It stands still.
    Held {
        /// Since when.
        since: Instant,
        /// Until when at the latest.
        until: Instant,
    },
    /// The lease ran out and the guest runs again; the measurer does not know yet.
    Expired {
        /// How long it stood still.
        pause: Duration,
    },
}

impl Lease {
    /// A lease of `wished`, within limits, on a guest that stopped at `since`.
    #[must_use]
    pub fn grant(since: Instant, now: Instant, wished: Duration) -> Self {
        Self::Held {
            since,
            until: now + wished.min(LONGEST),
        }
    }

    /// Whether the guest stands still.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Held { .. })
    }

    /// When the guest must run on.
    #[must_use]
    pub const fn until(self) -> Option<Instant> {
        match self {
            Self::Held { until, .. } => Some(until),
            Self::None | Self::Expired { .. } => None,
        }
    }

    /// How long the guest stood still, if it ran on at `now`.
    #[must_use]
    pub fn pause(self, now: Instant) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Held { since, .. } => now.saturating_duration_since(since),
            Self::Expired { pause } => pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lease_is_longer_than_the_longest() {
        let now = Instant::now();
        let lease = Lease::grant(now, now, Duration::MAX);
        assert_eq!(lease.until(), Some(now + LONGEST));
        assert_eq!(
            lease.pause(now + Duration::from_secs(2)),
            Duration::from_secs(2)
        );
    }

    #[test]
    fn an_expired_lease_holds_nothing() {
        let lease = Lease::Expired { pause: LONGEST };
        assert!(!lease.is_held() && lease.until().is_none());
        assert_eq!(lease.pause(Instant::now()), LONGEST);
    }
}
