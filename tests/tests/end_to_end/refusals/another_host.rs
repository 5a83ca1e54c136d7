//! Another host of the same fleet, with a card and a join code of its own: what is one host's is worth nothing on it.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::host::{CardRefusal, CardReply, CardRequest};
use bartizan_attestation::measurement::Report;
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::GuestSpec;
use uuid::Uuid;

use super::attack::Attack;
use crate::Case;
use crate::compromised::Hypervisor;
use crate::requests::{Enrolled, attest, nonce, request, some_page};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::right_key_and_cid_on_another_host", twin),
    ("refusals::report_key_of_another_card", another_card),
];

/// A guest there with what `web` has here, its UUID and its CID, to which the attacker has brought its key.
fn twin(world: &mut World) -> Result<()> {
    let (stack, web, there) = world.two_hosts()?;
    // Its second boot: the two hosts share a machine here, on which a boot of a VM has one control group.
    Hypervisor(there).next_boot(web.uuid)?;
    let twin = &mut there.boot(&GuestSpec {
        uuid: Some(web.uuid),
        ..GuestSpec::small("twin")
    })?;
    let (here, elsewhere) = (Enrolled::of(web)?, Enrolled::of(twin)?);
    ensure!(
        here.guest.vm == elsewhere.guest.vm && here.guest.card != elsewhere.guest.card,
        "{} and {} should be one VM on two cards",
        here.guest,
        elsewhere.guest
    );
    ensure!(
        cid(&stack.operator, "web")? == cid(&there.operator, "twin")?,
        "the CIDs differ"
    );
    for nonce in [nonce(web)?, nonce(twin)?] {
        let signed = here.sign(&request("twin", nonce, some_page())?)?;
        attest(twin, &signed)?.must_refuse("wrong-signer")?;
    }
    // Nor does the one's nonce serve the other.
    let signed = elsewhere.sign(&request("twin", nonce(web)?, some_page())?)?;
    attest(twin, &signed)?.must_refuse("nonce-foreign")?;
    ensure!(verdicts(&stack.operator)? == 0, "a verdict was recorded");
    // Each with its own is answered.
    for (guest, enrolled) in [(web, here), (twin, elsewhere)] {
        let signed = enrolled.sign(&request("twin", nonce(guest)?, some_page())?)?;
        attest(guest, &signed)?.token()?;
    }
    ensure!(verdicts(&stack.operator)? == 2, "two verdicts are due");
    there.operator.must(&["vm", "stop", "--force", "twin"])?;
    Ok(())
}

/// The other host taken over as well: neither does its card certify a key for this host's guest, nor is a report
/// believed that it hands in, or whose key it certified for a guest of its own.
fn another_card(world: &mut World) -> Result<()> {
    let (stack, web, there) = world.two_hosts()?;
    let there = Hypervisor(there);
    let attack = Attack::begin(stack, web, "another-card")?;
    let (honest, guest) = (attack.report()?, attack.enrolled.guest);
    let launch = &honest.launch_measurement;

    let answer = there.submit(&attack.genuine, &attack.enrolled.chain)?;
    answer.must_refuse("report-of-other-host")?;
    match there.ask(&CardRequest::Nonce { guest })? {
        CardReply::Refused(CardRefusal::VerifierRefused { problem, .. }) => {
            ensure!(problem.contains("report-of-other-host"), "{problem}");
        }
        other => anyhow::bail!("a nonce for another host's guest: {other:?}"),
    }
    let asked = there.report_key(guest, launch);
    let refused = asked.err().context("certified for another card's guest")?;
    ensure!(refused.to_string().contains("VaultRefused"), "{refused}");

    let own = there.next_boot(Uuid::from_bytes(guest.vm))?;
    let mut key = there.report_key(own, launch)?;
    attack.refused(&key.seal(&honest)?, "report-of-other-guest")?;
    let of_own = Report {
        guest: own,
        ..honest.clone()
    };
    let answer = there.submit(&key.seal(&of_own)?, &attack.enrolled.chain)?;
    answer.must_refuse("report-of-other-guest")?;
    // Put below this host's card, which did not issue it.
    key.chain[1] = attack.enrolled.chain[1].clone();
    attack.refused(&key.seal(&honest)?, "report-key-of-foreign-fleet")?;
    attack.accepted(&attack.genuine)
}

fn cid(operator: &Operator, guest: &str) -> Result<u64> {
    let shown = operator.must(&["vm", "show", guest])?;
    shown["cid"].as_u64().context("a CID")
}

fn verdicts(operator: &Operator) -> Result<usize> {
    let listed = operator.must(&["verdict", "list", "--application", "twin"])?;
    Ok(listed.as_array().context("a list of verdicts")?.len())
}
