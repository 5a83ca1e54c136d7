//! The phases of the boot, a type each: what needs a phase cannot be written before it.
//!
//! ```text
//! Boot<Card> ──card──► Boot<Devices> ──devices──► Boot<Coordinator> ──bundle──► Boot<Hypervisor>
//!    ──launch──► Boot<Enclave> ──launch──► Boot<Done>
//! ```

mod host;

use std::marker::PhantomData;

use bartizan_boot::{Bundle, Phase, Refusal};
use bartizan_cose::PublicKey;

use crate::coordinator::Coordinator;
use crate::family::Family;
pub use host::Host;

/// A boot whose next phase is `P`.
#[derive(Debug)]
pub struct Boot<P> {
    host: Host,
    next: PhantomData<P>,
}

/// A boot that was stopped: what runs goes on, nothing else is started.
#[derive(Debug)]
pub struct Stopped {
    /// What runs.
    pub host: Host,
    /// Why.
    pub refusal: Refusal,
}

/// The next phase is the first.
#[derive(Debug)]
pub enum Card {}
/// The next phase is the second.
#[derive(Debug)]
pub enum Devices {}
/// The next phase is the third.
#[derive(Debug)]
pub enum CoordinatorPhase {}
/// The next phase is the fourth.
#[derive(Debug)]
pub enum Hypervisor {}
/// The next phase is the fifth.
#[derive(Debug)]
pub enum Enclave {}
/// All phases have ended.
#[derive(Debug)]
pub enum Done {}

impl<P> Boot<P> {
    const fn at(host: Host) -> Self {
        Self {
            host,
            next: PhantomData,
        }
    }

    /// What runs.
    #[must_use]
    pub fn into_host(self) -> Host {
        self.host
    }

    /// Stops the boot for a reason of somebody else's.
    #[must_use]
    pub fn stop(mut self, refusal: Refusal) -> Stopped {
        self.host.stop(&refusal);
        Stopped {
            host: self.host,
            refusal,
        }
    }
}

/// Goes on to the next type, or stops.
fn go_on<P, Q, T>(
    mut boot: Boot<P>,
    phase: impl FnOnce(&mut Host) -> Result<T, Refusal>,
) -> Result<(Boot<Q>, T), Box<Stopped>> {
    match phase(&mut boot.host) {
        Ok(done) => Ok((Boot::at(boot.host), done)),
        Err(refusal) => Err(Box::new(boot.stop(refusal))),
    }
}

impl Boot<Card> {
    /// A boot from this signed manifest of the base, on a host whose firmware has this event log.
    pub fn begin(
        manifest: &[u8],
        release_key: &PublicKey,
        firmware: Option<Vec<u8>>,
        family: Family,
    ) -> Result<Self, Box<Stopped>> {
        let begun = Self::at(Host::new(release_key.clone(), firmware, family));
        let (begun, ()) = go_on(begun, |host| host.accept(manifest))?;
        Ok(begun)
    }

    /// Vault, card and the coordinator's first stage are measured, vault and card started.
    pub fn card(self) -> Result<Boot<Devices>, Box<Stopped>> {
        let (boot, _) = go_on(self, |host| host.perform(Phase::Card))?;
        Ok(boot)
    }
}

impl Boot<Devices> {
    /// Devices, QEMU, its firmware and libraries are measured; devices and the coordinator's first stage started.
    pub fn devices(self) -> Result<(Boot<CoordinatorPhase>, Coordinator), Box<Stopped>> {
        go_on(self, |host| {
            let link = host.perform(Phase::Devices)?;
            link.map(Coordinator::new)
                .ok_or_else(|| host::no_stage(Phase::Devices))
        })
    }
}

impl Boot<CoordinatorPhase> {
    /// The bundle is verified, the coordinator's second stage measured and started.
    pub fn bundle(self, bundle: &[u8]) -> Result<(Boot<Hypervisor>, Coordinator), Box<Stopped>> {
        go_on(self, |host| {
            let bundle = Bundle::from_bytes(bundle);
            let bundle = bundle.map_err(|error| Refusal::Manifest(error.to_string()))?;
            host.accept(&bundle.manifest)?;
            host.carry(bundle);
            let link = host.perform(Phase::Coordinator)?;
            link.map(Coordinator::new)
                .ok_or_else(|| host::no_stage(Phase::Coordinator))
        })
    }
}

impl Boot<Hypervisor> {
    /// Hypervisor, supervisor and measurer are measured, the hypervisor started.
    pub fn launch(self) -> Result<Boot<Enclave>, Box<Stopped>> {
        let (boot, _) = go_on(self, |host| host.perform(Phase::Hypervisor))?;
        Ok(boot)
    }
}

impl Boot<Enclave> {
    /// Whether the bundle has an enclave.
    #[must_use]
    pub fn has_enclave(&self) -> bool {
        self.host.has(Phase::Enclave)
    }

    /// The enclave's kernel, image and command line are measured, and what it runs in started.
    pub fn launch(self) -> Result<Boot<Done>, Box<Stopped>> {
        let (boot, ()) = go_on(self, |host| {
            host.perform(Phase::Enclave)?;
            host.booted()
        })?;
        Ok(boot)
    }

    /// Leaves the enclave out, where the bundle has none: what it would open stays shut.
    pub fn without_enclave(self) -> Result<Boot<Done>, Box<Stopped>> {
        let (boot, ()) = go_on(self, Host::booted)?;
        Ok(boot)
    }
}
