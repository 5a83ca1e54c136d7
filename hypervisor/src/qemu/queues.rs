//! How many queues each way a guest's network device has: one for each of its processors, up to a limit.

use serde::{Deserialize, Serialize};

/// Most that devices serve.
const MOST: u8 = 4;

/// Most that a guest has here, 1 to 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct QueueLimit(u8);

/// No such limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} is no number of queues: 1 to {MOST}")]
pub struct QueueLimitError(u8);

impl Default for QueueLimit {
    fn default() -> Self {
        Self(MOST)
    }
}

impl TryFrom<u8> for QueueLimit {
    type Error = QueueLimitError;

    fn try_from(limit: u8) -> Result<Self, QueueLimitError> {
        if (1..=MOST).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(QueueLimitError(limit))
        }
    }
}

impl From<QueueLimit> for u8 {
    fn from(limit: QueueLimit) -> Self {
        limit.0
    }
}

impl QueueLimit {
    /// How many a guest with so many processors has.
    #[must_use]
    pub fn of(self, cpus: u32) -> u8 {
        u8::try_from(cpus).map_or(self.0, |cpus| cpus.clamp(1, self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_processor_has_one_up_to_the_limit() {
        let of = |limit: u8, cpus| QueueLimit::try_from(limit).unwrap().of(cpus);
        assert_eq!(
            [0, 1, 2, 4, 5, 255, 256, u32::MAX].map(|cpus| of(4, cpus)),
            [1, 1, 2, 4, 4, 4, 4, 4]
        );
        assert_eq!([1, 2, 8].map(|cpus| of(1, cpus)), [1; 3]);
        assert_eq!(QueueLimit::default().of(3), 3);
    }

    #[test]
    fn other_limits_are_refused() {
        for limit in [0, 5, 255] {
            assert_eq!(QueueLimit::try_from(limit), Err(QueueLimitError(limit)));
            assert!(serde_json::from_str::<QueueLimit>(&limit.to_string()).is_err());
        }
        assert_eq!(serde_json::from_str::<QueueLimit>("2").unwrap().of(8), 2);
    }
}
