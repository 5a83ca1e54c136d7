//! Reports that an enrolled host hands in whose hypervisor was taken over. Each is genuine, or forged from a genuine
//! one, in all but one thing; that thing is what the verifier names, and no verdict is recorded. In the end the same
//! report without it is accepted with the same nonce: nothing else was wrong, and no refusal has spent anything.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bartizan_attestation::certificates::{Subject, Usage};
use bartizan_attestation::measurement::{Digest, MeasurementRequest, Report};
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::{Guest, Host, Stack};
use serde_json::Value;
use uuid::Uuid;

use super::foreign::Fleet;
use crate::Case;
use crate::compromised::{Card, Credential, Hypervisor, chain_of, opened};
use crate::requests::{Answer, Enrolled, request, some_page};
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
/// How long they may take to.
const EXPIRY: Duration = Duration::from_secs(60);

/// A request of `web`, measured by its measurer, and the report held back by the hypervisor.
pub(super) struct Attack<'w> {
    pub(super) hypervisor: Hypervisor<'w>,
    pub(super) enrolled: Enrolled,
    pub(super) genuine: Vec<u8>,
    operator: &'w Operator,
    /// A name that no other case uses: its verdicts are counted.
    application: &'static str,
}

impl<'w> Attack<'w> {
    pub(super) fn begin(
        stack: &'w Stack,
        web: &mut Guest,
        application: &'static str,
    ) -> Result<Self> {
        let (hypervisor, enrolled) = (Hypervisor(&stack.host), Enrolled::of(web)?);
        let asked = asked(hypervisor, &enrolled, application)?;
        let genuine = hypervisor.measure(web.uuid, enrolled.sign(&asked)?)?;
        Ok(Self {
            hypervisor,
            enrolled,
            genuine,
            operator: &stack.operator,
            application,
        })
    }

    /// What the genuine report says.
    pub(super) fn report(&self) -> Result<Report> {
        opened(&self.genuine)
    }

    /// The same as of now, in answer to another request.
    fn report_to(&self, request: Vec<u8>) -> Result<Report> {
        Ok(Report {
            request,
            measured_at_ms: now_ms()?,
            ..self.report()?
        })
    }

    /// A report key of the attacker's that is certified for this guest.
    fn report_key(&self) -> Result<Credential> {
        let launch = self.report()?.launch_measurement;
        self.hypervisor.report_key(self.enrolled.guest, &launch)
    }

    /// Another request of this guest's.
    fn asked(&self) -> Result<MeasurementRequest> {
        asked(self.hypervisor, &self.enrolled, self.application)
    }

    /// Hands a report in, together with this guest's certificates.
    fn submit(&self, report: &[u8]) -> Result<Answer> {
        self.hypervisor.submit(report, &self.enrolled.chain)
    }

    /// Fails unless a report is refused as exactly one problem.
    pub(super) fn refused(&self, report: &[u8], problem: &str) -> Result<()> {
        self.submit(report)?.must_refuse(problem)
    }

    /// Fails unless a report is accepted, and leaves the one verdict that there is.
    pub(super) fn accepted(&self, report: &[u8]) -> Result<()> {
        self.verdicts(0)?;
        self.submit(report)?.token()?;
        self.verdicts(1)
    }

    /// Hands in one report after another until one is refused, as exactly one problem. Before that at least one is
    /// accepted, and the last of these has left the newest verdict.
    fn until_refused(&self, problem: &str, submit: impl Fn() -> Result<Answer>) -> Result<()> {
        let deadline = Instant::now() + EXPIRY;
        let mut accepted = Value::Null;
        loop {
            let mut answer = submit()?;
            if answer.status != 200 {
                answer.must_refuse(problem)?;
                break;
            }
            answer.token()?;
            accepted = answer.body["verdict"].take();
            ensure!(Instant::now() < deadline, "still accepted: {answer:?}");
        }
        ensure!(accepted.is_string(), "never accepted");
        let newest = &self.listed("1")?[0]["id"];
        ensure!(*newest == accepted, "{newest} came after {accepted}");
        Ok(())
    }

    /// Fails unless so many verdicts were recorded.
    fn verdicts(&self, due: usize) -> Result<()> {
        let listed = self.listed("100")?;
        let found = listed.as_array().map(Vec::len);
        ensure!(found == Some(due), "{due} verdicts are due: {listed}");
        Ok(())
    }

    /// The newest verdicts, at most `limit`.
    fn listed(&self, limit: &str) -> Result<Value> {
        let application = ["--application", self.application, "--limit", limit];
        let list = [&["verdict", "list"], &application[..]].concat();
        self.operator.must(&list)
    }
}

fn asked(
    hypervisor: Hypervisor<'_>,
    enrolled: &Enrolled,
    application: &str,
) -> Result<MeasurementRequest> {
    request(application, hypervisor.nonce(enrolled.guest)?, some_page())
}

fn now_ms() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_millis())?)
}

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
