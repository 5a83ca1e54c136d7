//! From bytes to a verified report: every link of the chain missing once.

use proptest::prelude::*;

use super::super::{ReportError, VerifiedReport, verify_archived_report, verify_report};
use super::fleet::{Fleet, NEXT_YEAR_S, NOW_S, launch_measurement};
use super::scene::Scene;
use crate::appraisal::InconsistentReportError;
use crate::certificates::{ChainError, Usage};
use crate::cose::{MessageType, sign1};
use crate::csr::EphemeralKey;
use crate::identity::GuestIdentity;
use crate::measurement::{Digest, MeasurementRequest, Report, SignedReport};

const NOW_MS: u64 = NOW_S * 1000;

/// A report that is right in everything, before it is signed.
struct Draft {
    fleet: Fleet,
    report: Report,
    request: MeasurementRequest,
    page_digests: Option<Vec<u8>>,
    report_key_of: GuestIdentity,
    guest_key_of: GuestIdentity,
    certified_launch: Digest,
    embed_guest_chain: bool,
}

struct Signed {
    fleet: Fleet,
    report: SignedReport,
    guest_chain: Vec<Vec<u8>>,
}

impl Draft {
    fn right() -> Self {
        let fleet = Fleet::new();
        let VerifiedReport {
            mut report,
            request,
            page_digests,
            ..
        } = Scene::clean().verified();
        report.guest = fleet.guest;
        Self {
            report,
            request,
            page_digests,
            report_key_of: fleet.guest,
            guest_key_of: fleet.guest,
            certified_launch: launch_measurement(),
            embed_guest_chain: false,
            fleet,
        }
    }

    fn signed(mut self) -> Signed {
        let (report_key, guest_key) = (
            EphemeralKey::generate().unwrap(),
            EphemeralKey::generate().unwrap(),
        );
        let launch = &self.certified_launch;
        let report_chain =
            self.fleet
                .certified(&report_key, Usage::ReportKey, &self.report_key_of, launch);
        let guest_chain =
            self.fleet
                .certified(&guest_key, Usage::GuestKey, &self.guest_key_of, launch);
        let embedded = if self.embed_guest_chain {
            guest_chain.as_slice()
        } else {
            &[]
        };
        let payload = self.request.encode();
        self.report.request = sign1(
            MessageType::MeasurementRequest,
            &payload,
            embedded,
            &guest_key,
        )
        .unwrap();
        let report = sign1(
            MessageType::Report,
            &self.report.encode(),
            &report_chain,
            &report_key,
        )
        .unwrap();
        Signed {
            fleet: self.fleet,
            report: SignedReport {
                message: report,
                page_digests: self.page_digests,
            },
            guest_chain,
        }
    }
}

impl Signed {
    fn verify(&self, now_ms: u64) -> Result<VerifiedReport, ReportError> {
        verify_report(&self.report, &self.guest_chain, &self.fleet.ca, now_ms)
    }
}

fn refused(change: impl FnOnce(&mut Draft)) -> ReportError {
    let mut draft = Draft::right();
    change(&mut draft);
    draft.signed().verify(NOW_MS).unwrap_err()
}

#[test]
fn a_right_report_is_verified_and_says_whose_it_is() {
    let signed = Draft::right().signed();
    let verified = signed.verify(NOW_MS).unwrap();
    assert_eq!(verified.report().guest, signed.fleet.guest);
    assert_eq!(
        *verified.request_digest(),
        crate::digest::sha256(&verified.report().request)
    );
}

#[test]
fn the_window_is_a_minute_either_way() {
    let signed = Draft::right().signed();
    signed.verify(NOW_MS + 60_000).unwrap();
    signed.verify(NOW_MS - 60_000).unwrap();
    let refused = |at| signed.verify(at).unwrap_err();
    assert!(matches!(
        refused(NOW_MS + 60_001),
        ReportError::Expired { age_ms: 60_001 }
    ));
    assert!(matches!(
        refused(NOW_MS - 60_001),
        ReportError::Future { ahead_ms: 60_001 }
    ));
}

#[test]
fn keys_of_another_guest_boot_or_launch_are_refused() {
    let other_boot = |identity: &mut GuestIdentity| identity.boot += 1;
    let refusals = [
        refused(|draft| other_boot(&mut draft.report_key_of)),
        refused(|draft| other_boot(&mut draft.guest_key_of)),
        refused(|draft| other_boot(&mut draft.report.guest)),
        refused(|draft| draft.guest_key_of.vm = [6; 16]),
    ];
    assert!(
        refusals
            .iter()
            .all(|it| matches!(it, ReportError::OtherGuest { .. }))
    );
    let launch = refused(|draft| draft.certified_launch = Digest(vec![0; 48]));
    assert!(matches!(launch, ReportError::OtherLaunch));
    let card = refused(|draft| draft.report_key_of.card.0[0] ^= 1);
    assert!(matches!(
        card,
        ReportError::ReportChain(ChainError::ForeignCard { .. })
    ));
}

#[test]
fn foreign_expired_and_misused_chains_are_refused() {
    let signed = Draft::right().signed();
    let other = Draft::right().signed();
    let foreign = verify_report(&signed.report, &signed.guest_chain, &other.fleet.ca, NOW_MS);
    assert!(matches!(
        foreign,
        Err(ReportError::ReportChain(ChainError::ForeignCa))
    ));
    let swapped = verify_report(&signed.report, &other.guest_chain, &signed.fleet.ca, NOW_MS);
    assert!(matches!(swapped, Err(ReportError::GuestChain(_))));
    let late = signed.verify(NEXT_YEAR_S * 1000);
    assert!(matches!(
        late,
        Err(ReportError::ReportChain(ChainError::Expired))
    ));
    // A second key of the same guest did not sign this request.
    let key = EphemeralKey::generate().unwrap();
    let chain = signed.fleet.certified(
        &key,
        Usage::GuestKey,
        &signed.fleet.guest,
        &launch_measurement(),
    );
    let forged = verify_report(&signed.report, &chain, &signed.fleet.ca, NOW_MS);
    assert!(matches!(forged, Err(ReportError::Request(_))));
    // A report key does not sign requests.
    let chain = signed.fleet.certified(
        &key,
        Usage::ReportKey,
        &signed.fleet.guest,
        &launch_measurement(),
    );
    let misused = verify_report(&signed.report, &chain, &signed.fleet.ca, NOW_MS);
    assert!(matches!(misused, Err(ReportError::GuestChain(_))));
}

#[test]
fn a_report_that_contradicts_itself_is_refused() {
    use InconsistentReportError as E;
    let inconsistent = |change: fn(&mut Draft)| match refused(change) {
        ReportError::Inconsistent(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(
        inconsistent(|draft| draft.report.digest.0[0] ^= 1),
        E::TreeRoot
    );
    assert_eq!(
        inconsistent(|draft| draft.report.regions[0].digest.0[0] ^= 1),
        E::TreeRoot
    );
    assert_eq!(
        inconsistent(|draft| draft.request.page_digests = false),
        E::PageDigests
    );
    assert_eq!(
        inconsistent(|draft| draft.report.page_digests = None),
        E::PageDigests
    );
    let spoilt: [fn(&mut Vec<u8>); 3] = [
        |digests| digests[40] ^= 1,
        |digests| digests.truncate(32),
        |digests| digests.extend([0; 32]),
    ];
    for spoil in spoilt {
        let mut draft = Draft::right();
        spoil(draft.page_digests.as_mut().unwrap());
        let refused = draft.signed().verify(NOW_MS).unwrap_err();
        assert!(matches!(refused, ReportError::Inconsistent(E::PageDigests)));
    }
    assert!(matches!(
        refused(|draft| draft.page_digests = None),
        ReportError::NoPageDigests
    ));
    let none = |draft: &mut Draft| {
        draft.report.processes.clear();
        draft.report.translation = None;
    };
    assert_eq!(inconsistent(none), E::Process);
    let twice = |draft: &mut Draft| {
        let again = draft.report.processes[0].clone();
        draft.report.processes.push(again);
        let regions = draft.report.regions.clone();
        draft.report.regions.extend(regions);
    };
    assert_eq!(inconsistent(twice), E::Process);
    assert_eq!(
        inconsistent(|draft| draft.request.target = crate::measurement::Target::Profile { pid: 1 }),
        E::Process
    );
    let unmeasured = |draft: &mut Draft| drop(draft.report.regions.pop());
    assert_eq!(inconsistent(unmeasured), E::Regions);
    let hidden = |draft: &mut Draft| drop(draft.report.processes[0].mappings.pop());
    assert_eq!(inconsistent(hidden), E::Regions);
    let data = |draft: &mut Draft| draft.report.processes[0].mappings[0].flags.0 = 1;
    assert_eq!(inconsistent(data), E::NotExecutable);
    let longer = |draft: &mut Draft| {
        draft.request.algorithm = crate::measurement::HashAlgorithm::Sha512;
    };
    assert_eq!(inconsistent(longer), E::DigestLength);
}

#[test]
fn an_archived_report_is_verified_as_of_its_time() {
    let signed = Draft {
        embed_guest_chain: true,
        ..Draft::right()
    }
    .signed();
    let archived = verify_archived_report(&signed.report, &[], &signed.fleet.ca).unwrap();
    assert_eq!(archived.report().guest, signed.fleet.guest);
    verify_archived_report(&signed.report, &signed.guest_chain, &signed.fleet.ca).unwrap();
    // Page digests are gone by then, or else are the right ones.
    let mut kept = signed.report.clone();
    kept.page_digests = None;
    verify_archived_report(&kept, &[], &signed.fleet.ca).unwrap();
    kept.page_digests = Some(vec![0; 32]);
    verify_archived_report(&kept, &[], &signed.fleet.ca).unwrap_err();
    let mut expired = Draft::right();
    expired.report.measured_at_ms = NEXT_YEAR_S * 1000;
    let expired = expired.signed();
    let refused = verify_archived_report(&expired.report, &expired.guest_chain, &expired.fleet.ca);
    assert!(matches!(
        refused,
        Err(ReportError::ReportChain(ChainError::Expired))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bit_flipped_is_refused(flips in proptest::collection::vec(any::<(usize, u8)>(), 8)) {
        thread_local!(static SIGNED: Signed = Draft::right().signed());
        SIGNED.with(|signed| {
            for (at, bit) in flips {
                let mut report = signed.report.clone();
                let digests = report.page_digests.as_mut().unwrap();
                let at = at % (report.message.len() + digests.len());
                let byte = match at.checked_sub(report.message.len()) {
                    Some(at) => &mut digests[at],
                    None => &mut report.message[at],
                };
                *byte ^= 1 << (bit % 8);
                let verified =
                    verify_report(&report, &signed.guest_chain, &signed.fleet.ca, NOW_MS);
                assert!(verified.is_err());
                assert!(verify_archived_report(&report, &signed.guest_chain, &signed.fleet.ca).is_err());
            }
        });
    }
}
