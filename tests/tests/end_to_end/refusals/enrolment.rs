//! A guest that has not enrolled, and whoever comes second.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_tests::stack::{Guest, GuestSpec};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::json;

use crate::Case;
use crate::requests::{Enrolled, attest, nonce, post_json, request, some_page, text};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::second_launch_secret_is_gone", second_secret),
    ("refusals::second_enrolment", second_enrolment),
    ("refusals::guest_that_did_not_enrol", not_enrolled),
    ("refusals::recycled_cid", recycled_cid),
];

fn second_secret(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let answer = post_json(web, "/launch_secret", &json!({}))?;
    ensure!(answer.status == 410, "{answer:?}");
    answer.must_refuse("launch-secret-taken")
}

fn second_enrolment(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    enrol(web, &B64.encode([0; 32]))?.must_refuse("enrolment-refused")
}

/// A boot in which nobody has enrolled yet: nothing is measured, a wrong secret enrols nobody, not even before
/// the right one was handed out, and what was refused does not stand in the way of the right one.
fn not_enrolled(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let foreign = Enrolled::of(web)?;
    let stack = world.stack()?;
    let late = &mut stack.host.boot(&GuestSpec {
        kernel_parameters: "bartizan.enroll=no",
        ..GuestSpec::small("late")
    })?;

    let asked = request("nginx", nonce(late)?, some_page())?;
    let signed = foreign.sign(&asked)?;
    attest(late, &signed)?.must_refuse("not-enrolled")?;
    let wrong = B64.encode([7; 32]);
    enrol(late, &wrong)?.must_refuse("enrolment-refused")?;
    let handed_out = post_json(late, "/launch_secret", &json!({}))?;
    let secret = text(&handed_out.body["secret"])?;
    enrol(late, &wrong)?.must_refuse("enrolment-refused")?;
    attest(late, &signed)?.must_refuse("not-enrolled")?;
    post_json(late, "/launch_secret", &json!({}))?.must_refuse("launch-secret-taken")?;
    let enrolled = enrol(late, secret)?;
    ensure!(enrolled.status == 200, "{enrolled:?}");
    enrol(late, secret)?.must_refuse("enrolment-refused")?;
    stack.operator.must(&["vm", "stop", "--force", "late"])?;
    Ok(())
}

/// A guest that is given the CID of one that ended is not that one: what the first signed for its own nonce is
/// refused, and its nonce is of no use to the second.
fn recycled_cid(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let cid = |name: &str| {
        let shown = stack.operator.must(&["vm", "show", name])?;
        shown["cid"].as_u64().context("a CID")
    };
    let mut first = stack.host.boot(&GuestSpec::small("first"))?;
    let first_cid = cid("first")?;
    let asked = request("nginx", nonce(&mut first)?, some_page())?;
    let signed = Enrolled::of(&mut first)?.sign(&asked)?;
    stack.operator.must(&["vm", "stop", "--force", "first"])?;

    let second = &mut stack.host.boot(&GuestSpec::small("second"))?;
    ensure!(cid("second")? == first_cid, "the CID was not given again");
    attest(second, &signed)?.must_refuse("wrong-signer")?;
    let signed = Enrolled::of(second)?.sign(&asked)?;
    attest(second, &signed)?.must_refuse("nonce-foreign")?;
    stack.operator.must(&["vm", "stop", "--force", "second"])?;
    Ok(())
}

fn enrol(guest: &mut Guest, secret: &str) -> Result<crate::requests::Answer> {
    let csr = B64.encode(EphemeralKey::generate()?.csr()?);
    post_json(guest, "/enroll", &json!({ "secret": secret, "csr": csr }))
}
