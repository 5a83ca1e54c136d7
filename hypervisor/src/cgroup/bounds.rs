//! What the processes of a group may use, whoever they are.

/// Bounds of a control group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Most memory, in bytes.
    pub memory: u64,
    /// Most threads.
    pub threads: u32,
    /// Of the CPUs.
    pub cpu: Cpu,
    /// Whether a bound that this host cannot set is done without, and that is logged.
    pub optional: bool,
}

/// Of the CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cpu {
    /// A share among those that want some: a weight of cgroup v2, 1 to 10 000; 100 is everybody's.
    Weight(u32),
    /// So much and no more, though nobody else wants any, in percent of one CPU; at least 1.
    Percent(u32),
}

/// The time in which a quota is used up, in microseconds: the kernel's own default (cgroup-v2.rst, `cpu.max`).
pub(super) const PERIOD_US: u64 = 100_000;

/// The quota of a period, in microseconds.
pub(super) fn quota_us(percent: u32) -> u64 {
    u64::from(percent) * PERIOD_US / 100
}
