//! The fleet CA is replaced while a guest attests without pause: it is never refused, host and operators follow, and the former key is
//! gone.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::certificates::{FleetCa, Lineage, Role, Subject, Usage, verify_chain};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::host::{CardReply, CardRequest, HostDescription};
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::{GuestSpec, Stack};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    SanType,
};
use serde_json::Value;

use super::{NGINX, attest_until, id, now};
use crate::Case;
use crate::compromised::Hypervisor;
use crate::runbooks::Runbook;
use crate::world::World;

/// The last of all cases: what others know of the fleet is the former CA.
pub(crate) const CASES: &[Case] = &[("rotations::fleet_ca_is_followed", followed)];

/// How long a host may take to follow, and a guest to be affirmed a few times more.
const PATIENCE: Duration = Duration::from_secs(180);

fn followed(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let operator = &stack.operator;
    let old = read(&operator.fleet_ca())?;
    let pinned = stack.layout.path("former-fleet-ca.pem");
    fs::copy(operator.fleet_ca(), &pinned)?;
    let over = AtomicBool::new(false);
    let affirmed = AtomicU32::new(0);
    Runbook::carried_out("Another one, before anything happened", operator, |book| {
        thread::scope(|scope| {
            let guest = scope.spawn(|| attest_until(web, &over, &affirmed));
            let rotated = rotate_meanwhile(stack, book, &affirmed);
            over.store(true, Ordering::SeqCst);
            let attested = guest.join().unwrap_or_else(|_| bail!("a panic"));
            attested.and(rotated)
        })?;
        let new = read(&operator.fleet_ca())?;
        let host = describe(stack)?;
        ensure!(old.sha256() != new.sha256(), "the folder did not follow");
        ensure!(*host.fleet_cas.present == *new.der(), "the host did not");

        let events = book.must("key history verifier", &[])?;
        former_key_is_gone(operator, &old, &events)?;
        openssl_follows(stack, &pinned, &host.fleet_cas)?;
        // Who is certified by the former CA orders and asks as before, and follows by a command.
        let second = &stack.second_operator;
        second.must(&["vm", "list"])?;
        book.by(second);
        let rolled = book.must("operator roll-fleet-ca", &[])?;
        let again = second.must(&["operator", "roll-fleet-ca"])?;
        ensure!(rolled["rolled"] == true, "{rolled}");
        ensure!(again["rolled"] == false, "{again}");
        second.must(&["vm", "list"])?;
        second.must(&["key", "list", "verifier"])?;
        Ok(())
    })?;
    stranger_is_refused(stack)?;

    // A guest that is launched with the new one, beside that which was with the former one, whose key is renewed.
    let mut late = stack.host.boot(&GuestSpec::small("late"))?;
    for guest in [web, &mut late] {
        guest.agent.must("/opt/bartizan/bin/bartizan-guest renew")?;
        let (code, answer) = guest.attest(NGINX)?;
        ensure!(code == Some(0), "{}: {answer}", guest.name);
    }
    // Once more, by one whom the present one certified: two links lead to the next one then.
    let former = operator.run(&["key", "rotate", "fleet-ca"])?;
    ensure!(former.code == Some(1), "{former:?}");
    stack.certify_anew()?;
    operator.must(&["key", "rotate", "fleet-ca"])?;
    let (code, answer) = late.attest(NGINX)?;
    ensure!(
        code == Some(0),
        "not affirmed after the second one: {answer}"
    );
    Ok(())
}

/// Rotates all that the verifier has while the guest goes on, and waits until the host has followed.
fn rotate_meanwhile(stack: &Stack, book: &mut Runbook<'_>, affirmed: &AtomicU32) -> Result<()> {
    let operator = &stack.operator;
    let deadline = Instant::now() + PATIENCE;
    let some_more = || {
        let until = affirmed.load(Ordering::SeqCst) + 2;
        while affirmed.load(Ordering::SeqCst) < until {
            ensure!(Instant::now() < deadline, "the guest is not affirmed");
            thread::yield_now();
        }
        Ok(())
    };
    some_more()?;
    let rotated = book.must("key rotate fleet-ca", &[])?;
    ensure!(rotated["rolled"] == true, "{rotated}");
    some_more()?;
    operator.must(&["key", "rotate", "token"])?;
    operator.must(&["key", "rotate", "tls-server"])?;
    operator.must(&["key", "rotate", "tls-client"])?;
    let present = read(&operator.fleet_ca())?.alone();
    loop {
        let chain: Vec<_> = describe(stack)?.chain.into_iter().map(Vec::from).collect();
        if verify_chain(&chain, &present, now()?, Usage::Card).is_ok() {
            return some_more();
        }
        ensure!(Instant::now() < deadline, "the host is not certified anew");
        thread::yield_now();
    }
}

fn former_key_is_gone(operator: &Operator, old: &FleetCa, events: &Value) -> Result<()> {
    let key = hex::encode(old.public_key().sha256());
    let events = events.as_array().context("a list")?;
    let told: Vec<_> = (events.iter().filter(|event| id(event) == key))
        .filter_map(|event| event["event"].as_str())
        .collect();
    let expected = ["made", "certified", "superseded", "certified", "destroyed"];
    ensure!(told == expected, "{events:?}");
    let keys = operator.must(&["key", "list", "verifier"])?;
    let keys = keys.as_array().context("a list")?;
    ensure!(keys.iter().all(|shown| id(shown) != key), "{keys:?}");
    Ok(())
}

/// OpenSSL, which trusts the former CA only, follows the link that the server shows; and the one that it is given.
fn openssl_follows(stack: &Stack, pinned: &Path, cas: &Lineage) -> Result<()> {
    let connected = Command::new("openssl")
        .args(["s_client", "-connect", stack.operator.verifier()])
        .args([
            "-servername",
            "localhost",
            "-verify_return_error",
            "-CAfile",
        ])
        .arg(pinned)
        .stdin(Stdio::null())
        .output()?;
    ensure!(connected.status.success(), "{connected:?}");
    let former = cas.former.first().context("a former CA")?;
    let at = |name: &str, der: &[u8]| {
        let path = stack.layout.path(name);
        fs::write(&path, der)?;
        Ok::<_, anyhow::Error>(path)
    };
    let link = at("new-with-old.der", &former.new_with_old)?;
    let host = describe(stack)?.chain;
    let card = at("card.der", host.first().context("a card")?)?;
    for (trusted, untrusted, right) in [
        (pinned, Some(&link), true),
        (pinned, None, false),
        (&stack.operator.fleet_ca(), None, true),
    ] {
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-no-CApath", "-no-CAstore", "-CAfile"]);
        verify.arg(trusted);
        if let Some(untrusted) = untrusted {
            verify.arg("-untrusted").arg(untrusted);
        }
        let verified = verify.arg(&card).output()?;
        ensure!(verified.status.success() == right, "{verified:?}");
    }
    Ok(())
}

/// An administrator by the word of a CA that nothing links to the fleet's.
fn stranger_is_refused(stack: &Stack) -> Result<()> {
    let folder = stack.layout.path("stranger");
    fs::create_dir_all(&folder)?;
    let (ca, key) = (EphemeralKey::generate()?, EphemeralKey::generate()?);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::new(params, ca);
    let subject = Subject::operator("mallory", Role::Administrator)?;
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = (Usage::Operator.extended_key_usages().into_iter())
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect();
    params.subject_alt_names = vec![SanType::URI(subject.to_string().try_into()?)];
    let certificate = params.signed_by(&key, &issuer)?;
    fs::write(folder.join("operator.pk8"), key.pkcs8_der())?;
    fs::set_permissions(folder.join("operator.pk8"), Permissions::from_mode(0o600))?;
    fs::write(folder.join("operator.pem"), certificate.pem())?;
    fs::copy(stack.operator.fleet_ca(), folder.join("fleet-ca.pem"))?;
    let mallory = stack.operator.another(folder);
    for command in [
        &["vm", "list"][..],
        &["key", "list", "verifier"],
        &["key", "rotate", "fleet-ca"],
    ] {
        let ran = mallory.run(command)?;
        ensure!(ran.code == Some(1), "{command:?}: {ran:?}");
    }
    Ok(())
}

fn describe(stack: &Stack) -> Result<HostDescription> {
    match Hypervisor(&stack.host).ask(&CardRequest::Describe)? {
        CardReply::Host(host) => Ok(host),
        other => bail!("the card does not describe the host: {other:?}"),
    }
}

fn read(path: &Path) -> Result<FleetCa> {
    Ok(FleetCa::from_pem_or_der(&fs::read(path)?)?)
}
