//! The guest SDK: an application proves its memory to a verifier, and starts only with the proof in hand.
//!
//! ```no_run
//! use bartizan_guest::{Application, Enrollment, HostApi, request_memory_attestation, verify_attestation_token};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let enrollment = Enrollment::load("/run/bartizan".as_ref())?;
//! let ledger = Application::this_process("ledger", "https://ledger.example");
//! let attested = request_memory_attestation(&HostApi::vsock(), &enrollment, &ledger)?;
//! let result = verify_attestation_token(&attested, &enrollment)?;
//! println!("affirmed until {}", result.claims().exp);
//! # Ok(())
//! # }
//! ```
//!
//! A guest's key is certified for a day: `bartizan-guest renew --watch`, or [`renew`] at its [`Validity::half_life`],
//! replaces it in time, and an application loads the enrolment anew before each request.
//!
//! What the SDK trusts is one digest on the kernel command line, `bartizan.anchor`: that of the fleet CA,
//! signed by an operator in the launch record. Everything that the host hands over, the fleet CA and the
//! verifier's token certificates included, is checked against it.
//!
//! The SDK is a convenience, not the enforcement: an application that a compromised kernel makes skip it gains
//! nothing, since what must stay secret is released by a relying party against the token.

#![forbid(unsafe_code)]

mod anchor;
mod attestation;
mod certificate;
mod enrollment;
mod host_api;
mod http;
mod renewal;
mod residency;
mod state;

pub use anchor::{Anchor, AnchorError};
pub use attestation::{
    Application, AttestationError, Attested, Measure, NotAffirmedError, request_memory_attestation,
    verify_attestation_token,
};
pub use certificate::Validity;
pub use enrollment::{EnrollError, enroll};
pub use host_api::{HostApi, HostApiError, Problem};
pub use renewal::{RenewError, renew};
pub use residency::{ResidencyError, make_executable_pages_present, make_program_present};
pub use state::{Enrollment, StateError};
