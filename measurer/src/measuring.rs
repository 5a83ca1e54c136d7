//! One measurement, from the signed request to the signed report.

use bartizan_attestation::cose::{MessageType, SignError, sign1};
use bartizan_attestation::digest::hash;
use bartizan_attestation::host::{MeasurerContext, Outcome};
use bartizan_attestation::measurement::{
    MeasurementRequest, Refusal, Report, SignedReport, Target,
};
use bartizan_guest_memory::GuestRam;

use crate::guest_kernel::GuestKernel;
use crate::hashing::digests;
use crate::link::{Link, LinkError};
use crate::report_key::{Certified, ReportKeys};
use crate::request;
use crate::snapshot::{self, Taken, Tracked};
use crate::targets::{self, ProcessTarget, Resolved};
use crate::tracking::Tracking;

/// What measurements need.
pub(crate) struct Measuring {
    pub(crate) context: MeasurerContext,
    pub(crate) ram: GuestRam,
    pub(crate) kernel: GuestKernel,
    pub(crate) keys: ReportKeys,
    pub(crate) tracked: Tracked<Tracking>,
}

impl Measuring {
    /// Measures.
    ///
    /// # Errors
    /// The link is broken; a refusal is an outcome.
    pub(crate) fn measure(
        &mut self,
        link: &mut Link,
        signed: Vec<u8>,
    ) -> Result<Outcome, LinkError> {
        let (request, allowed) = match self.admit(&signed) {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let outcome = self.snapshot(link, &request, allowed)?.and_then(|taken| {
            // The key may have expired meanwhile: the newest one signs.
            let key = self.keys.current().ok_or(Refusal::NoReportKey)?;
            let (report, page_digests) = self.report(&request, signed, taken);
            let message = sign(&report, key)?;
            Ok(SignedReport {
                message,
                page_digests,
            })
        });
        Ok(match outcome {
            Ok(report) => Outcome::Report(report),
            Err(refusal) => Outcome::Refused(refusal),
        })
    }

    /// Everything that can be refused without a look at guest memory; the bytes allowed.
    fn admit(&self, signed: &[u8]) -> Result<(MeasurementRequest, u64), Refusal> {
        let request = request::parse(signed)?;
        let allowed = request::allowed(&request, self.context.bytes_per_request);
        request::check_size(request.target.size(), allowed)?;
        self.keys.current().ok_or(Refusal::NoReportKey)?;
        Ok((request, allowed))
    }

    fn snapshot(
        &mut self,
        link: &mut Link,
        request: &MeasurementRequest,
        allowed: u64,
    ) -> Result<Result<Taken<Resolved>, Refusal>, LinkError> {
        let Self { ram, tracked, .. } = self;
        let ram = &*ram;
        let pid = match &request.target {
            Target::Physical(regions) => {
                let resolve = || targets::physical(ram, regions);
                return snapshot::take(link, ram, tracked, request, resolve);
            }
            Target::Virtual { pid, .. } | Target::Profile { pid } => *pid,
        };
        let kernel = match self.kernel.running(ram) {
            Ok(kernel) => kernel,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut target = ProcessTarget {
            ram,
            kernel,
            request,
            pid,
            allowed,
            task: None,
        };
        snapshot::take(link, ram, tracked, request, || target.resolve())
    }

    /// The report, and the page digests that it commits to.
    fn report(
        &self,
        request: &MeasurementRequest,
        signed: Vec<u8>,
        taken: Taken<Resolved>,
    ) -> (Report, Option<Vec<u8>>) {
        let Resolved {
            regions,
            processes,
            translation,
            ..
        } = taken.resolved;
        let digests = digests(request, &regions, &taken.contents);
        let report = Report {
            version: Report::VERSION,
            request: signed,
            guest: self.context.guest,
            launch_measurement: self.context.launch_measurement.clone(),
            digest: digests.overall,
            regions: digests.regions,
            page_digests: digests
                .page_digests
                .as_deref()
                .map(|digests| hash(request.algorithm, digests)),
            processes,
            translation,
            snapshot: taken.how,
            measured_at_ms: taken.at_ms,
            hypervisor_version: self.context.hypervisor_version.clone(),
        };
        (report, digests.page_digests)
    }
}

fn sign(report: &Report, certified: &Certified) -> Result<Vec<u8>, Refusal> {
    // What nobody would read is not signed: a guest can have stranger paths than a report may carry.
    report
        .check()
        .map_err(|error| Refusal::InconsistentMemory(error.to_string()))?;
    let payload = report.encode();
    match sign1(
        MessageType::Report,
        &payload,
        &certified.chain,
        &certified.key,
    ) {
        Ok(report) => Ok(report),
        // Paths of many mappings can be long.
        Err(SignError::TooLarge { size, limit }) => Err(Refusal::OverBudget {
            requested: size as u64,
            allowed: limit as u64,
        }),
        Err(error) => {
            tracing::error!(%error, "a report could not be signed");
            Err(Refusal::NoReportKey)
        }
    }
}
