//! Reports, from the bytes to the claims of a result. The input in pieces is a request's and a report's payload,
//! signed by the fleet's guest and measurer, and perhaps page digests that are not the scene's; a single piece is a
//! whole message.
#![no_main]

use std::sync::LazyLock;

use bartizan_attestation::appraisal::{
    Status, VerifiedReport, appraise, verify_archived_report, verify_report,
};
use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::measurement::{MeasurementRequest, Report, SignedReport};
use bartizan_attestation::profile::ApplicationProfile;
use bartizan_attestation::result::{Issue, check_claims_json, claims};
use bartizan_fuzz::fleet::{FLEET, NOW_S};
use bartizan_fuzz::{pieces, scene};
use libfuzzer_sys::fuzz_target;

static REPORT_CHAIN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| FLEET.chain(Usage::ReportKey));
static GUEST_CHAIN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| FLEET.chain(Usage::GuestKey));
static PROFILE: LazyLock<ApplicationProfile> = LazyLock::new(scene::profile);

fuzz_target!(|data: &[u8]| {
    match pieces::split(data).as_slice() {
        [message] => {
            let message = SignedReport::from(message.to_vec());
            let verified = verify_report(&message, &GUEST_CHAIN, &FLEET.ca, NOW_S * 1000);
            assert!(verified.is_err(), "nobody signed this");
            assert!(verify_archived_report(&message, &[], &FLEET.ca).is_err());
        }
        [request, report] => judge(request, report, None),
        [request, report, page_digests, ..] => judge(request, report, Some(page_digests)),
        [] => {}
    }
});

fn judge(request: &[u8], payload: &[u8], page_digests: Option<&[u8]>) {
    let Ok(mut report) = Report::decode(payload) else {
        return;
    };
    assert_eq!(report.encode(), payload, "two encodings of one report");
    report.request = scene::signed_request(request);
    let message = sign1(
        MessageType::Report,
        &report.encode(),
        &REPORT_CHAIN,
        &FLEET.report_key,
    )
    .expect("an input fits into a message");
    let mut message = scene::with_page_digests(&report, message);
    if let Some(page_digests) = page_digests {
        message.page_digests = Some(page_digests.to_vec());
    }
    let now_ms = NOW_S * 1000;
    if verify_archived_report(&message, &GUEST_CHAIN, &FLEET.ca).is_ok() {
        let age = report.measured_at_ms.abs_diff(now_ms);
        let fresh = verify_report(&message, &GUEST_CHAIN, &FLEET.ca, now_ms);
        assert_eq!(fresh.is_ok(), age <= 60_000, "{fresh:?}");
    }
    if let Ok(verified) = verify_report(&message, &GUEST_CHAIN, &FLEET.ca, now_ms) {
        assert_eq!(*verified.report(), report);
        assert_eq!(verified.report().guest, FLEET.guest);
        assert_eq!(
            Some(verified.request()),
            MeasurementRequest::decode(request).ok().as_ref()
        );
        issue(&verified);
    }
}

/// Whatever is verified can be appraised, and the vault would sign the outcome.
fn issue(verified: &VerifiedReport) {
    for profile in [None, Some(&*PROFILE)] {
        let appraisal = appraise(verified, profile);
        if appraisal.status == Status::Affirming {
            assert!(appraisal.findings.is_empty() && profile.is_some());
            assert_eq!(
                verified.request().application,
                PROFILE.document().application
            );
        }
        let issue = Issue {
            issuer: "https://verifier.example".into(),
            verdict: "1".into(),
            build: "fuzz".into(),
            now_s: NOW_S,
            lifetime_s: 300,
            releases: Vec::new(),
            firmware: None,
        };
        let json = claims(verified, &appraisal, &issue).to_json();
        if let Err(error) = check_claims_json(&json) {
            panic!("the vault would not sign {json}: {error}");
        }
    }
}
