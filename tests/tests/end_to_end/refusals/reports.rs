//! Reports that an enrolled host hands in whose hypervisor was taken over. Each is genuine, or forged from a genuine
//! one, in all but one thing; that thing is what the verifier names.

use anyhow::{Context, Result, ensure};
use bartizan_attestation::certificates::{Subject, Usage};
use bartizan_attestation::measurement::{Digest, Report};
use bartizan_tests::stack::Host;
use uuid::Uuid;

use super::attack::{Attack, now_ms};
use super::foreign::Fleet;
use crate::Case;
use crate::compromised::{Card, Credential, chain_of};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::report_out_of_time", out_of_time),
    ("refusals::report_of_another_fleet", another_fleet),
    ("refusals::report_key_that_expired", expired_report_key),
    ("refusals::guest_key_that_expired", expired_guest_key),
    ("refusals::report_by_a_key_of_another_guest", another_guest),
    ("refusals::report_flipped_in_transit", flipped),
];

/// Seconds for which the keys are certified that are to expire.
const SHORT_S: u64 = 3;

/// Of long ago, of just too long ago, of the future: by a key that the card certified, and with everything else right.
fn out_of_time(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let attack = Attack::begin(stack, web, "out-of-time")?;
    let key = attack.report_key()?;
    let honest = attack.report()?;
    for (shift_ms, problem) in [
        (-3_600_000, "report-expired"),
        (-61_000, "report-expired"),
        (90_000, "report-from-future"),
        (3_600_000, "report-from-future"),
    ] {
        let measured_at_ms = now_ms()?.checked_add_signed(shift_ms).context("a time")?;
        let report = Report {
            measured_at_ms,
            ..honest.clone()
        };
        attack
            .refused(&key.seal(&report)?, problem)
            .with_context(|| format!("{shift_ms} ms"))?;
    }
    attack.accepted(&key.seal(&honest)?)
}

/// Keys that a card of another fleet certified, in the names of this guest and its measurer.
fn another_fleet(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let attack = Attack::begin(stack, web, "another-fleet")?;
    let (honest, guest) = (attack.report()?, attack.enrolled.guest);
    let launch = &honest.launch_measurement;
    let card = Fleet::founded()?.card()?;
    let mut key = card.certify(Usage::ReportKey, &Subject::Measurer(guest), launch)?;
    attack.refused(&key.seal(&honest)?, "report-key-of-foreign-fleet")?;
    // Put below this host's card, which did not issue it.
    key.chain[1] = attack.enrolled.chain[1].clone();
    attack.refused(&key.seal(&honest)?, "report-key-of-foreign-fleet")?;

    let key = card.certify(Usage::GuestKey, &Subject::Guest(guest), launch)?;
    let submitted = attack.hypervisor.submit(&attack.genuine, &key.chain)?;
    submitted.must_refuse("guest-key-of-foreign-fleet")?;
    attack.accepted(&attack.genuine)
}

/// A certificate of the real vault for a few seconds: its key's reports are accepted until it has ended.
fn expired_report_key(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let attack = Attack::begin(stack, web, "expired-report-key")?;
    let short = short_lived(&stack.host, &attack, Usage::ReportKey)?;
    attack.until_refused("report-key-expired", || {
        let request = attack.enrolled.sign(&attack.asked()?)?;
        attack.submit(&short.seal(&attack.report_to(request)?)?)
    })
}

/// The same for a guest's key.
fn expired_guest_key(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let attack = Attack::begin(stack, web, "expired-guest-key")?;
    let short = short_lived(&stack.host, &attack, Usage::GuestKey)?;
    let key = attack.report_key()?;
    attack.until_refused("guest-key-expired", || {
        let request = short.sign(&attack.asked()?.encode())?;
        let report = key.seal(&attack.report_to(request)?)?;
        attack.hypervisor.submit(&report, &short.chain)
    })
}

fn short_lived(host: &Host, attack: &Attack<'_>, usage: Usage) -> Result<Credential> {
    let launch = attack.report()?.launch_measurement;
    Card(host).certify(usage, attack.enrolled.guest, &launch, SHORT_S)
}

/// Whatever the card certifies speaks of the guest and the launch that it was certified for, and of no other.
fn another_guest(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let attack = Attack::begin(stack, web, "another-guest")?;
    let hypervisor = attack.hypervisor;
    let (honest, guest) = (attack.report()?, attack.enrolled.guest);
    let launch = &honest.launch_measurement;

    let other = hypervisor.next_boot(Uuid::new_v4())?;
    let others = hypervisor.report_key(other, launch)?;
    attack.refused(&others.seal(&honest)?, "report-of-other-guest")?;
    let of_other = Report {
        guest: other,
        ..honest.clone()
    };
    attack.refused(&others.seal(&of_other)?, "report-of-other-guest")?;
    let key = attack.report_key()?;
    attack.refused(&key.seal(&of_other)?, "report-of-other-guest")?;

    let elsewise = hypervisor.report_key(guest, &Digest(vec![7; 48]))?;
    attack.refused(&elsewise.seal(&honest)?, "report-of-other-launch")?;

    // The guest's own request, but signed by a key that it never had.
    let unsigned = Report {
        request: others.sign(&attack.asked()?.encode())?,
        ..honest.clone()
    };
    attack.refused(&key.seal(&unsigned)?, "request-signer-wrong")?;
    attack.accepted(&key.seal(&honest)?)
}

/// Bits of the genuine report, one at a time: of its signature, of what it says, of the request and the certificates in it.
fn flipped(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let attack = Attack::begin(stack, web, "flipped")?;
    let (genuine, report) = (&attack.genuine, attack.report()?);
    let chain = chain_of(genuine)?;
    let end_of = |part: &[u8], from: usize| {
        let mut windows = genuine[from..].windows(part.len());
        let place = windows.position(|window| window == part);
        Ok::<_, anyhow::Error>(from + place.context("a part")? + part.len())
    };
    let (leaf, payload) = (end_of(&chain[0], 0)?, end_of(&chain[1], 0)?);
    let (signed, certified) = ("report-signature-wrong", "report-key-of-foreign-fleet");
    let places = [
        (genuine.len() - 96, signed),
        (genuine.len() - 1, signed),
        (end_of(&report.digest.0, payload)? - 1, signed),
        (end_of(&report.launch_measurement.0, payload)? - 1, signed),
        (end_of(&report.request, payload)? - 1, signed),
        // The last bytes of certificates are their signatures'.
        (leaf - 1, certified),
        (payload - 1, certified),
    ];
    for (at, problem) in places {
        for bit in [0, 3] {
            let mut altered = genuine.clone();
            altered[at] ^= 1 << bit;
            attack
                .refused(&altered, problem)
                .with_context(|| format!("bit {bit} of byte {at} of {}", genuine.len()))?;
        }
    }
    // Anywhere: it is refused, as whatever it has become.
    for at in (0..genuine.len()).step_by(genuine.len() / 24) {
        let mut altered = genuine.clone();
        altered[at] ^= 0x80;
        let answer = attack.submit(&altered)?;
        let problem = answer.problem()?;
        ensure!(problem.starts_with("report-"), "byte {at}: {answer:?}");
        answer.must_refuse(problem)?;
    }
    attack.accepted(genuine)
}
