//! `bartizan evidence`: signed reports, checked offline with nothing but the fleet CA.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use bartizan_attestation::appraisal::verify_archived_report;
use bartizan_attestation::measurement::SignedReport;
use bartizan_attestation::profile::ApplicationProfile;
use clap::Subcommand;
use serde_json::json;

use crate::fleet_ca::read_fleet_ca;
use crate::output::Output;
use crate::verifier::read;

#[derive(Subcommand)]
pub(crate) enum Evidence {
    /// Verify a signed report: its signature, its chain as of the time it was measured, its digests.
    #[command(
        after_help = "Example: bartizan evidence verify nginx.report --fleet-ca fleet-ca.pem --profile nginx.json"
    )]
    Verify {
        /// The report (COSE_Sign1).
        report: PathBuf,
        /// The fleet CA certificate, PEM or DER; with `fleet-cas.pem` beside it, as `bartizan operator roll-fleet-ca` writes it, those
        /// that it leads to count as well.
        #[arg(long)]
        fleet_ca: PathBuf,
        /// The page digests that came with the report, where they were kept.
        #[arg(long)]
        page_digests: Option<PathBuf>,
        /// Appraise it against this profile too.
        #[arg(long)]
        profile: Option<PathBuf>,
    },
}

pub(crate) fn run(command: Evidence, output: Output) -> Result<ExitCode> {
    let Evidence::Verify {
        report,
        fleet_ca,
        page_digests,
        profile,
    } = command;
    let fleet_ca = read_fleet_ca(&fleet_ca)?;
    let report = SignedReport {
        message: read(&report)?,
        page_digests: page_digests.map(|path| read(&path)).transpose()?,
    };
    let archived = verify_archived_report(&report, &[], &fleet_ca)?;
    let profile = profile.map(|path| read(&path)).transpose()?;
    let profile = profile
        .map(|json| ApplicationProfile::from_json(&json))
        .transpose()?;
    let appraisal = profile
        .as_ref()
        .map(|profile| archived.appraise(Some(profile)));
    let status = appraisal.as_ref().map(|appraisal| appraisal.status);
    let affirmed =
        status.is_none_or(|status| status == bartizan_attestation::appraisal::Status::Affirming);
    let (report, request) = (archived.report(), archived.request());
    let shown = json!({
        "ok": affirmed,
        "guest": report.guest.to_string(),
        "application": request.application,
        "measured_at_ms": report.measured_at_ms,
        "algorithm": request.algorithm.name(),
        "digest": report.digest.to_string(),
        "launch_measurement": report.launch_measurement.to_string(),
        "processes": report.processes.iter().map(|process| json!({
            "pid": process.pid, "executable": process.executable,
        })).collect::<Vec<_>>(),
        "regions": report.regions.len(),
        "pause_us": report.snapshot.pause_us,
        "status": status,
        "findings": appraisal.map(|appraisal| appraisal.findings),
    });
    output.result(&shown, &serde_json::to_string_pretty(&shown)?);
    Ok(if affirmed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
