//! Requests that are not by this guest's key, or not as it was signed.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::csr::EphemeralKey;

use crate::Case;
use crate::requests::{Enrolled, attest, nonce, post, request, some_page};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::key_of_another_guest", key_of_another_guest),
    ("refusals::key_of_nobody", key_of_nobody),
    ("refusals::right_key_from_another_cid", another_cid),
    ("refusals::request_changed_after_signing", changed),
    ("refusals::unknown_hash_algorithm", unknown_algorithm),
    ("refusals::request_that_is_no_cose", no_cose),
];

fn key_of_another_guest(world: &mut World) -> Result<()> {
    let (_, web, other) = world.two()?;
    let others = Enrolled::of(other)?;
    let signed = others.sign(&request("nginx", nonce(web)?, some_page())?)?;
    attest(web, &signed)?.must_refuse("wrong-signer")
}

/// A fresh key under the right certificate.
fn key_of_nobody(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let mut enrolled = Enrolled::of(web)?;
    enrolled.key = EphemeralKey::generate()?;
    let signed = enrolled.sign(&request("nginx", nonce(web)?, some_page())?)?;
    attest(web, &signed)?.must_refuse("wrong-signer")
}

/// What web signed with its own key and for its own nonce, sent from the other guest: which guest asks is
/// told by the connection. Sent from web, it is answered.
fn another_cid(world: &mut World) -> Result<()> {
    let (_, web, other) = world.two()?;
    let enrolled = Enrolled::of(web)?;
    let signed = enrolled.sign(&request("nginx", nonce(web)?, some_page())?)?;
    attest(other, &signed)?.must_refuse("wrong-signer")?;
    attest(web, &signed)?.token()?;
    Ok(())
}

fn changed(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let enrolled = Enrolled::of(web)?;
    let nonce = nonce(web)?;
    let asked = request("nginx", nonce, some_page())?;
    let signed = enrolled.sign(&asked)?;
    let place = |bytes: &[u8]| {
        let mut windows = signed.windows(bytes.len());
        windows.position(|window| window == bytes).context("a part")
    };
    // Parts that stay well-formed: only the signature tells.
    let parts = [
        place(&nonce)?,
        place(&asked.guest_nonce)?,
        place(asked.audience.as_bytes())?,
        signed.len() - 96,
        signed.len() - 1,
    ];
    for at in parts {
        let mut altered = signed.clone();
        altered[at] ^= 1;
        let answer = attest(web, &altered)?;
        answer
            .must_refuse("wrong-signer")
            .with_context(|| format!("byte {at}"))?;
    }
    // Any part: either it is no request any more, or the signature tells.
    for at in (0..signed.len()).step_by(signed.len() / 24) {
        let mut altered = signed.clone();
        altered[at] ^= 0x80;
        let answer = attest(web, &altered)?;
        let problem = answer.problem()?;
        ensure!(
            ["malformed", "wrong-signer"].contains(&problem),
            "byte {at}: {answer:?}"
        );
        answer.must_refuse(problem)?;
    }
    // None of that used the nonce up.
    attest(web, &signed)?.token()?;
    Ok(())
}

/// A number of the registry (2, truncated SHA-256) that is no algorithm of ours, validly signed.
fn unknown_algorithm(world: &mut World) -> Result<()> {
    use bartizan_attestation::measurement::HashAlgorithm;

    let (_, web) = world.web()?;
    let enrolled = Enrolled::of(web)?;
    let mut asked = request("nginx", nonce(web)?, some_page())?;
    let mut payload = asked.encode();
    asked.algorithm = HashAlgorithm::Sha384;
    let other = asked.encode();
    let mut pairs = payload.iter().zip(&other);
    let at = pairs.position(|(one, other)| one != other);
    payload[at.context("the algorithm's place")?] = 2;
    let signed = enrolled.sign_payload(&payload)?;
    attest(web, &signed)?.must_refuse("unknown-algorithm")
}

fn no_cose(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    for bytes in [&b""[..], b"\0", b"{}", &[0xff; 1000]] {
        attest(web, bytes)?.must_refuse("malformed")?;
    }
    let (path, json) = ("/attest_guest_memory", "application/json");
    post(web, path, json, b"{}")?.must_refuse("unsupported-media-type")
}
