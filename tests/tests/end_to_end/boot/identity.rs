//! Whose identity a TPM's is: proved at enrolment, and nobody else's later.

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::keys::{TpmDescription, TpmObject, VaultReply, VaultRequest};
use bartizan_tests::maker::Maker;
use bartizan_tests::token::Tpm;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use super::rig::Rig;
use crate::Case;
use crate::world::World;

pub(super) const CASES: &[Case] = &[("boot::no_other_tpm_takes_an_identity_over", no_other_tpm)];

/// A host with a TPM of its own, booted and not enrolled.
fn host(world: &mut World, name: &str, maker: &Maker) -> Result<(Rig, Tpm)> {
    let mut rig = Rig::new(world, name)?;
    let tpm = Tpm::new(&rig.layout.path("tpm"), maker)?;
    rig.seal_by(&tpm.sealing())?;
    rig.sign(&rig.describe([1, 1])?)?;
    rig.boot()?.done()?;
    Ok((rig, tpm))
}

fn no_other_tpm(world: &mut World) -> Result<()> {
    let maker = world.stack()?.maker.clone();
    let (mut first, _tpm) = host(world, "c1", &maker)?;
    let stack = world.stack()?;
    let enroll = |rig: &Rig, name: &str, wish: &[&str]| {
        stack.enroll(&rig.layout, &rig.configs.card, name, wish)
    };
    let refused = |enrolled: Result<()>, kind: &str| match enrolled {
        Ok(()) => bail!("enrolled, where {kind} is due"),
        Err(error) if format!("{error:#}").contains(kind) => Ok(()),
        Err(error) => Err(error.context(format!("{kind} is due"))),
    };
    // A code for a host that the operator takes for one without a TPM, or with a token.
    refused(enroll(&first, "c1", &[]), "vault-of-other-kind")?;
    refused(
        enroll(&first, "c1", &["--vault", "pkcs11"]),
        "vault-of-other-kind",
    )?;
    enroll(&first, "c1", &["--vault", "tpm2"])?;
    let card = first.card()?.to_string();
    let listed = |card: &str| {
        let hosts = stack.operator.must(&["host", "list"])?;
        let hosts = hosts.as_array().context("hosts")?;
        let found = hosts.iter().find(|host| host["card"] == card);
        found.cloned().context("the host is not listed")
    };
    let known = listed(&card)?;
    ensure!(
        known["vault"] == "tpm2" && known["endorsement"].is_string(),
        "{known}"
    );
    // Its certificates are of one kind, so that the verifier knows it.
    first.releases.register()?;
    first.served(stack)?;
    let shown = shown(&first)?;
    first.end()?;

    // Another TPM of that maker, under the name of the first.
    let (mut second, _tpm) = host(world, "c2", &maker)?;
    let stack = world.stack()?;
    let enroll = |rig: &Rig, name: &str, wish: &[&str]| {
        stack.enroll(&rig.layout, &rig.configs.card, name, wish)
    };
    refused(
        enroll(&second, "c1", &["--vault", "tpm2"]),
        "host-of-other-tpm",
    )?;
    // With the endorsement of the first: its secrets are for the first's TPM.
    passes_another_off(&second, &shown)?;
    enroll(&second, "c1", &["--vault", "tpm2", "--another-tpm"])?;
    second.end()?;

    // A TPM by a maker whom nobody trusts.
    let stranger = Maker::new(&stack.layout, "stranger")?;
    let (mut third, _tpm) = host(world, "c3", &stranger)?;
    let stack = world.stack()?;
    let enrolled = stack.enroll(
        &third.layout,
        &third.configs.card,
        "c3",
        &["--vault", "tpm2"],
    );
    refused(enrolled, "tpm-endorsement-refused")?;
    third.end()
}

/// The second host's keys, the first one's endorsement: the verifier cannot tell, and the second one's TPM opens nothing.
fn passes_another_off(rig: &Rig, first: &TpmDescription) -> Result<()> {
    let VaultReply::Csr(csr) = rig.ask(&VaultRequest::CreateCardIdentity)? else {
        bail!("no request");
    };
    let own = shown(rig)?;
    let answer = rig
        .operator()
        .must(&["host", "join-code", "--name", "c9", "--vault", "tpm2"])?;
    let certificate = first.certificate.as_ref().context("a certificate")?;
    let wish = json!({
        "join_code": answer["code"], "name": "c9", "csr": B64.encode(csr),
        "endorsement": B64.encode(&*first.endorsement), "certificate": B64.encode(&**certificate),
        "card": B64.encode(&*own.card), "attestation": B64.encode(&*own.attestation),
    });
    let challenge = rig
        .operator()
        .anonymously("/v1/hosts/tpm-challenge", &wish)?;
    for (object, name) in [
        (TpmObject::CardIdentity, "card"),
        (TpmObject::Attestation, "attestation"),
    ] {
        let bytes = |member: &str| -> Result<Vec<u8>> {
            let text = challenge[name][member].as_str();
            Ok(B64.decode(text.with_context(|| challenge.to_string())?)?)
        };
        let activate = VaultRequest::ActivateCredential {
            object,
            credential: bytes("credential")?,
            secret: bytes("secret")?,
        };
        match rig.ask(&activate)? {
            VaultReply::Refused(_) => {}
            other => bail!("the TPM opened another one's secret: {other:?}"),
        }
    }
    let mut guessed: Value = wish;
    let members = guessed.as_object_mut().context("an object")?;
    members.retain(|name, _| matches!(name.as_str(), "join_code" | "name" | "csr"));
    members.insert("vault".into(), "tpm2".into());
    members.insert("secrets".into(), B64.encode([0; 64]).into());
    let answer = rig.operator().anonymously("/v1/hosts", &guessed)?;
    ensure!(
        answer["type"] == "urn:bartizan:problem:tpm-not-activated",
        "{answer}"
    );
    // And there is no second try.
    let answer = rig.operator().anonymously("/v1/hosts", &guessed)?;
    ensure!(
        answer["type"] == "urn:bartizan:problem:tpm-challenge-unknown",
        "{answer}"
    );
    Ok(())
}

fn shown(rig: &Rig) -> Result<TpmDescription> {
    match rig.ask(&VaultRequest::DescribeTpm)? {
        VaultReply::Tpm(Some(shown)) => Ok(shown),
        other => bail!("{other:?}"),
    }
}
