//! An attack with a report by an enrolled host whose hypervisor was taken over, and what counts as its failure: one
//! problem type, no verdict, and in the end the same report without its flaw is accepted with the same nonce, so that
//! nothing else was wrong and no refusal has spent anything.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use bartizan_attestation::measurement::{MeasurementRequest, Report};
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::{Guest, Stack};
use serde_json::Value;

use crate::compromised::{Credential, Hypervisor, opened};
use crate::requests::{Answer, Enrolled, request, some_page};

/// How long a certificate for a few seconds may take to expire.
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
    /// Has it measured. `application` is used by this attack only.
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
    pub(super) fn report_to(&self, request: Vec<u8>) -> Result<Report> {
        Ok(Report {
            request,
            measured_at_ms: now_ms()?,
            ..self.report()?
        })
    }

    /// A report key of the attacker's that is certified for this guest.
    pub(super) fn report_key(&self) -> Result<Credential> {
        let launch = self.report()?.launch_measurement;
        self.hypervisor.report_key(self.enrolled.guest, &launch)
    }

    /// Another request of this guest's.
    pub(super) fn asked(&self) -> Result<MeasurementRequest> {
        asked(self.hypervisor, &self.enrolled, self.application)
    }

    /// Hands a report in, together with this guest's certificates.
    pub(super) fn submit(&self, report: &[u8]) -> Result<Answer> {
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
    pub(super) fn until_refused(
        &self,
        problem: &str,
        submit: impl Fn() -> Result<Answer>,
    ) -> Result<()> {
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

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_millis())?)
}
