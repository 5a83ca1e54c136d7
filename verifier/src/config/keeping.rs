//! How many verdicts there may be, and how long the evidence of each is kept.

use serde::Deserialize;

use super::Range;

/// How many verdicts there may be; see [`crate::quota`]. A unit is a KiB that is kept for ever.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuotaLimits {
    /// Units a minute of one VM, in the long run.
    pub per_guest_per_minute: u32,
    /// Units of one VM at once.
    pub guest_burst: u32,
    /// Units a minute of one host's VMs, in the long run.
    pub per_host_per_minute: u32,
    /// Units of one host's VMs at once.
    pub host_burst: u32,
}

/// How long reports and tokens are kept. Of every verdict its summary is kept, for ever.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Of verdicts that affirm.
    pub affirming: Keep,
    /// Of all others: those are what an investigation begins with.
    pub others: Keep,
}

/// Evidence is dropped at whichever comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// Seconds since the verdict.
    pub age_s: u64,
    /// So many later verdicts of its kind on the same VM.
    pub per_guest: u32,
    /// So many later verdicts of its kind on the same host's VMs.
    pub per_host: u32,
}

impl Default for QuotaLimits {
    fn default() -> Self {
        Self {
            per_guest_per_minute: 30,
            guest_burst: 600,
            per_host_per_minute: 600,
            host_burst: 6000,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            affirming: Keep {
                age_s: 7 * 86_400,
                per_guest: 32,
                per_host: 512,
            },
            others: Keep {
                age_s: 90 * 86_400,
                per_guest: 128,
                per_host: 2048,
            },
        }
    }
}

impl QuotaLimits {
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range> {
        [
            (
                "verdicts.per_guest_per_minute",
                u64::from(self.per_guest_per_minute),
                1,
                1 << 20,
            ),
            (
                "verdicts.guest_burst",
                u64::from(self.guest_burst),
                1,
                1 << 20,
            ),
            (
                "verdicts.per_host_per_minute",
                u64::from(self.per_host_per_minute),
                1,
                1 << 20,
            ),
            (
                "verdicts.host_burst",
                u64::from(self.host_burst),
                1,
                1 << 20,
            ),
        ]
        .into_iter()
    }
}

impl Retention {
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range> {
        let age = |field, keep: Keep| (field, keep.age_s, 60, 100 * 365 * 86_400);
        let count = |field, count: u32| (field, u64::from(count), 1, 1 << 20);
        [
            age("retention.affirming.age_s", self.affirming),
            count("retention.affirming.per_guest", self.affirming.per_guest),
            count("retention.affirming.per_host", self.affirming.per_host),
            age("retention.others.age_s", self.others),
            count("retention.others.per_guest", self.others.per_guest),
            count("retention.others.per_host", self.others.per_host),
        ]
        .into_iter()
    }
}
