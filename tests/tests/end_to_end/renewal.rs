//! A guest's key is renewed without a reboot, by nobody but its owner; a host's certificate while it serves.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::measurement::Digest;
use bartizan_tests::daemon::{Daemon, Recipe};
use bartizan_tests::layout::text;
use bartizan_tests::stack::{Guest, GuestSpec};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use uuid::Uuid;

use crate::Case;
use crate::compromised::Hypervisor;
use crate::requests::{Answer, Enrolled, attest, nonce, post, request, some_page};
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("renewal::guest_renews_its_key_without_a_reboot", renewal),
    ("renewal::host_renews_its_certificate", host_renewal),
];

const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";

fn renewal(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let foreign = Enrolled::of(web)?;
    let mut renews = stack.host.boot(&GuestSpec {
        memory_mib: 512,
        ..GuestSpec::new("renews")
    })?;
    let before = Enrolled::of(&mut renews)?;
    let boot = boot_of(&mut renews)?;
    let under_way = before.sign(&request("nginx", nonce(&mut renews)?, some_page())?)?;

    let by_another = foreign.sign_renewal(&before, &EphemeralKey::generate()?)?;
    renew(&mut renews, &by_another)?.must_refuse("wrong-signer")?;
    renews
        .agent
        .must("/opt/bartizan/bin/bartizan-guest renew")?;
    let after = Enrolled::of(&mut renews)?;
    ensure!(after.guest == before.guest, "another identity");
    ensure!(
        after.key.public_key() != before.key.public_key(),
        "the key is the former one"
    );

    let (code, answer) = renews.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed with the new key: {answer}");
    // What the former key signed before is answered, and it renews nothing any more.
    attest(&mut renews, &under_way)?.token()?;
    let by_former = before.sign_renewal(&before, &EphemeralKey::generate()?)?;
    renew(&mut renews, &by_former)?.must_refuse("certificate-superseded")?;
    let too_soon = after.sign_renewal(&after, &EphemeralKey::generate()?)?;
    renew(&mut renews, &too_soon)?.must_refuse("busy")?;

    let shown = stack.operator.must(&["vm", "show", "renews"])?;
    ensure!(shown["guest"] == after.guest.to_string(), "{shown}");
    ensure!(boot_of(&mut renews)? == boot, "the guest was rebooted");
    stack.operator.must(&["vm", "stop", "--force", "renews"])?;
    Ok(())
}

fn host_renewal(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let (host, enrolled) = (&stack.host, Enrolled::of(web)?);
    let card = enrolled.guest.card.to_string();
    let certificate = || -> Result<Vec<u8>> {
        let hosts = stack.operator.must(&["host", "list"])?;
        let mut hosts = hosts.as_array().into_iter().flatten();
        let listed = hosts.find(|host| host["card"] == card);
        let listed = listed.context("the host is listed")?;
        Ok(B64.decode(listed["certificate"].as_str().unwrap_or_default())?)
    };
    let before = certificate()?;
    let renew = Recipe {
        program: host.layout.program("bartizan-card"),
        arguments: vec![
            "renew".into(),
            "--config".into(),
            text(&host.layout.path("card.yaml"))?,
        ],
        account: host.users.card,
        capabilities: &[],
        log: host.layout.path("card-renew.log"),
    };
    Daemon::run_once(&renew, "")?;
    let after = certificate()?;
    ensure!(after != before, "the verifier lists the former certificate");

    // What the host certifies from now on rests on the new one, and is of the same card.
    let hypervisor = Hypervisor(host);
    let guest = hypervisor.next_boot(Uuid::new_v4())?;
    ensure!(guest.card == enrolled.guest.card, "another card");
    let key = hypervisor.report_key(guest, &Digest(vec![7; 48]))?;
    ensure!(key.chain[1] == after, "certified by the former certificate");
    let (code, answer) = web.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed after the renewal: {answer}");
    Ok(())
}

fn renew(guest: &mut Guest, signed: &[u8]) -> Result<Answer> {
    post(guest, "/renew", "application/cose", signed)
}

fn boot_of(guest: &mut Guest) -> Result<String> {
    guest.agent.must("cat /proc/sys/kernel/random/boot_id")
}
