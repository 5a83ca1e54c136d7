//! Proofs that a phase of the boot has ended.

use std::fmt;
use std::marker::PhantomData;

use bartizan_attestation::boot::Phase;

/// A phase whose end opens something.
pub(crate) trait Opens {
    /// Which.
    const PHASE: Phase;
}

/// The end of the first phase: the host's identity and its TLS keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AfterCard {}

impl Opens for AfterCard {
    const PHASE: Phase = Phase::Card;
}

/// The end of the fourth phase: certificates of report and guest keys, and of the hypervisor's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AfterHypervisor {}

impl Opens for AfterHypervisor {
    const PHASE: Phase = Phase::Hypervisor;
}

/// The end of the fifth phase: certificates of the enclave's keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AfterEnclave {}

impl Opens for AfterEnclave {
    const PHASE: Phase = Phase::Enclave;
}

/// The phase has ended, or no boot is demanded. Made by [`super::Boot::reached`] only.
#[derive(Clone, Copy)]
pub(crate) struct Reached<P>(PhantomData<P>);

impl<P> Reached<P> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<P: Opens> fmt::Debug for Reached<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reached({})", P::PHASE)
    }
}
