//! A guest's key is renewed without a reboot, by nobody but its owner; a host's certificate while it serves.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::measurement::Digest;
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
    ("renewal::service_renews_in_time_by_the_guests_clock", watch),
    ("renewal::host_renews_its_certificate", host_renewal),
];

const HOUR_S: i64 = 3600;
/// The service looks once a minute; renewing takes seconds.
const WATCH_DEADLINE: Duration = Duration::from_secs(180);
const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";

fn renewal(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let foreign = Enrolled::of(web)?;
    let mut renews = stack.host.boot(&GuestSpec::small("renews"))?;
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

/// The service renews once half of the certificate's life is over by the guest's clock; a clock that is behind does not end
/// it. The guest is this case's own, since its clock is set.
fn watch(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let mut watched = stack.host.boot(&GuestSpec {
        memory_mib: 512,
        ..GuestSpec::new("watched")
    })?;
    let before = Enrolled::of(&mut watched)?;
    set_clock(&mut watched, -2 * HOUR_S)?;
    watched.agent.must("systemctl restart bartizan-renew")?;
    let said = "journalctl --no-pager -o cat -u bartizan-renew | grep 'not valid yet'";
    wait_until(&mut watched, said)?;
    watched
        .agent
        .must("cp /run/bartizan/key.pk8 /run/key.before")?;
    set_clock(&mut watched, 13 * HOUR_S)?;
    wait_until(
        &mut watched,
        "! cmp -s /run/bartizan/key.pk8 /run/key.before",
    )?;
    set_clock(&mut watched, 0)?;

    let after = Enrolled::of(&mut watched)?;
    ensure!(after.guest == before.guest, "another identity");
    let restarts = watched
        .agent
        .must("systemctl show -P NRestarts bartizan-renew")?;
    ensure!(restarts.trim() == "0", "it ended: {restarts}");
    let shown = stack.operator.must(&["vm", "show", "watched"])?;
    ensure!(shown["guest"] == after.guest.to_string(), "{shown}");
    let (code, answer) = watched.attest(NGINX)?;
    ensure!(code == Some(0), "not affirmed with the new key: {answer}");
    stack.operator.must(&["vm", "stop", "--force", "watched"])?;
    Ok(())
}

/// Sets a guest's clock to the true time and so many seconds.
fn set_clock(guest: &mut Guest, ahead_s: i64) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let set_to = now.saturating_add_signed(ahead_s);
    guest.agent.must(&format!("date -s @{set_to}")).map(drop)
}

/// Waits until a script in a guest succeeds.
fn wait_until(guest: &mut Guest, script: &str) -> Result<()> {
    let deadline = Instant::now() + WATCH_DEADLINE;
    while guest.agent.run(script)?.code != Some(0) {
        ensure!(Instant::now() < deadline, "in the guest, never `{script}`");
    }
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
    let renewed = host.operator.must(&["host", "renew"])?;
    ensure!(renewed["key"].is_string(), "{renewed}");
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
