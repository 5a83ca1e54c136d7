//! From a request to its token, against what that needs at least, each part alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bartizan_attestation::cose::{MessageType, Unverified};
use bartizan_attestation::digest::hash;
use bartizan_attestation::measurement::{HashAlgorithm, Report};
use bartizan_guest_memory::Gpa;
use bartizan_measuring::{Better, Outcome, Part, Samples, averaged, rounds, timed};

use crate::SUITE;
use crate::commit::Database;
use crate::echo;
use crate::exchange::{API, Granted, MEASURED, attest, granted, signed};
use crate::rig::{Rig, Subject};
use crate::signatures::{Keys, STEPS};

const WARM_UP: usize = 2;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Bytes that are measured.
    size: u64,
    rounds: usize,
    /// Requests one after another in a round.
    batch: usize,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "token_4kib",
        size: 4 << 10,
        rounds: 41,
        batch: 8,
    },
    Case {
        name: "token_1mib",
        size: 1 << 20,
        rounds: 41,
        batch: 8,
    },
    Case {
        name: "token_256mib",
        size: 256 << 20,
        rounds: 15,
        batch: 1,
    },
];

/// What is measured in every round.
#[derive(Default)]
struct Measured {
    total: Samples,
    vsock: Samples,
    copy: Samples,
    hash: Samples,
    signatures: [Samples; STEPS.len()],
    commit: Samples,
    pause: Samples,
}

impl Case {
    pub(crate) fn run(&self, rig: &mut Rig) -> Result<Outcome> {
        let database = rig.stack.layout.path(&format!("{}.db", self.name));
        let mut database = Database::create(&database)?;
        let keys = Keys::generate()?;
        let mut buffer = vec![1; usize::try_from(self.size)?];
        let mut measured = Measured::default();
        rounds(self.name, WARM_UP, self.rounds, |counts| {
            let mut discarded = Measured::default();
            let samples = if counts {
                &mut measured
            } else {
                &mut discarded
            };
            self.round(&mut rig.first, &keys, &mut database, &mut buffer, samples)
        })?;
        Ok(self.outcome(&measured))
    }

    fn round(
        &self,
        subject: &mut Subject,
        keys: &Keys,
        database: &mut Database,
        buffer: &mut [u8],
        measured: &mut Measured,
    ) -> Result<()> {
        let requests = signed(subject, self.batch, self.size)?;
        let sent: Vec<_> = requests
            .iter()
            .map(|request| attest(request, false))
            .collect();
        let answers = self.fired(subject, API, &sent, &mut measured.total)?;
        let (request, last) = (requests.last(), answers.last());
        let (request, last) = request.zip(last).context("a round has requests")?;

        subject.echo.set(sent[0].len(), last.len());
        let echoes = self.fired(subject, echo::PORT, &sent, &mut measured.vsock)?;
        ensure!(
            echoes.iter().all(|echo| echo.len() == last.len()),
            "cut echoes"
        );

        let all: Vec<_> = answers
            .iter()
            .map(|answer| granted(answer))
            .collect::<Result<_>>()?;
        let last = all.last().context("a round has requests")?;
        measured.copy.add(timed(|| {
            Ok(subject.ram.copy_pages(Gpa(MEASURED), buffer)?)
        })?);
        measured
            .hash
            .add(timed(|| Ok(hash(HashAlgorithm::Sha256, buffer)))?);
        let signatures = keys.measure(&subject.enrolled, request, last)?;
        for (samples, step) in measured.signatures.iter_mut().zip(signatures) {
            samples.add(step);
        }
        let guest = subject.enrolled.guest;
        measured
            .commit
            .add(averaged(4, || database.commit(&guest, last))?);
        for granted in &all {
            measured.pause.add(pause(granted)?);
        }
        Ok(())
    }

    /// Sends requests one after another, each on a connection of its own; the time of one goes to `samples`.
    fn fired(
        &self,
        subject: &mut Subject,
        port: u32,
        requests: &[Vec<u8>],
        samples: &mut Samples,
    ) -> Result<Vec<Vec<u8>>> {
        let agent = &mut subject.guest.agent;
        agent.load(port, requests)?;
        let begun = Instant::now();
        agent.fire(1, false)?;
        samples.add(begun.elapsed() / u32::try_from(self.batch)?);
        agent.collect()
    }

    fn outcome(&self, measured: &Measured) -> Outcome {
        let named = [
            ("vsock: one exchange of the same sizes", &measured.vsock),
            ("measurer: copy", &measured.copy),
            ("measurer: hash", &measured.hash),
        ];
        let signatures = STEPS.into_iter().zip(&measured.signatures);
        let durable = [(
            "verifier: one durable commit (SQLite, synchronous=FULL)",
            &measured.commit,
        )];
        let counted = named.into_iter().chain(signatures).chain(durable);
        let part = |(name, samples): (&str, &Samples), counted| Part {
            name: name.into(),
            milliseconds: samples.median() * 1e3,
            counted,
        };
        let mut parts: Vec<_> = counted.map(|named| part(named, true)).collect();
        let reference_value = parts.iter().map(|part| part.milliseconds).sum();
        parts.push(part(
            ("the guest stood still, copy included", &measured.pause),
            false,
        ));
        let value = measured.total.median() * 1e3;
        Outcome {
            suite: SUITE,
            case: self.name,
            value,
            unit: "ms",
            reference: "the sum of its unavoidable parts, each measured alone",
            reference_value,
            ratio: value / reference_value,
            better: Better::Lower,
            goal: 2.0,
            rounds: self.rounds,
            spread: measured.total.spread(),
            parts,
        }
    }
}

/// The pause that a report tells of.
fn pause(granted: &Granted) -> Result<Duration> {
    let message = Unverified::parse(&granted.report, MessageType::Report)?;
    let report = Report::decode(message.unverified_payload())?;
    Ok(Duration::from_micros(report.snapshot.pause_us))
}
