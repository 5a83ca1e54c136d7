//! Nonces: each is good once, for the guest that it was given to.

use anyhow::Result;

use crate::Case;
use crate::requests::{Enrolled, attest, nonce, request, some_page};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::replayed_request", replayed_request),
    ("refusals::replayed_nonce", replayed_nonce),
    ("refusals::nonce_never_issued", never_issued),
    ("refusals::nonce_of_another_guest", of_another_guest),
];

/// The very bytes that were answered once.
fn replayed_request(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let enrolled = Enrolled::of(web)?;
    let signed = enrolled.sign(&request("nginx", nonce(web)?, some_page())?)?;
    attest(web, &signed)?.token()?;
    attest(web, &signed)?.must_refuse("nonce-used")
}

/// A new request with an old nonce.
fn replayed_nonce(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let enrolled = Enrolled::of(web)?;
    let nonce = nonce(web)?;
    let first = enrolled.sign(&request("nginx", nonce, some_page())?)?;
    attest(web, &first)?.token()?;
    let second = enrolled.sign(&request("nginx", nonce, some_page())?)?;
    attest(web, &second)?.must_refuse("nonce-used")
}

fn never_issued(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let enrolled = Enrolled::of(web)?;
    let signed = enrolled.sign(&request("nginx", [0x5a; 32], some_page())?)?;
    attest(web, &signed)?.must_refuse("nonce-unknown")
}

/// Nor does trying it take it away from the guest that it was given to.
fn of_another_guest(world: &mut World) -> Result<()> {
    let (_, web, other) = world.two()?;
    let nonce = nonce(other)?;
    let asked = request("nginx", nonce, some_page())?;
    let signed = Enrolled::of(web)?.sign(&asked)?;
    attest(web, &signed)?.must_refuse("nonce-foreign")?;
    let signed = Enrolled::of(other)?.sign(&asked)?;
    attest(other, &signed)?.token()?;
    Ok(())
}
