//! Where there is nothing to hold a report against, nothing is affirmed.

use super::super::{ExpectedDigest, Finding, Status, appraise};
use super::scene::Scene;
use crate::measurement::{Digest, HashAlgorithm, Region, Target};
use crate::profile::ApplicationProfile;

#[test]
fn without_a_profile_the_status_is_none_whatever_is_expected() {
    let mut verified = Scene::clean().verified();
    let equal = verified.report.digest.clone();
    for (expected, outcome) in [
        (None, ExpectedDigest::Absent),
        (Some(equal), ExpectedDigest::Equal),
        (Some(Digest(vec![0; 32])), ExpectedDigest::Different),
    ] {
        verified.request.expected = expected;
        let appraisal = appraise(&verified, None);
        assert_eq!(
            (appraisal.status, appraisal.expected),
            (Status::None, outcome)
        );
        assert_eq!(appraisal.findings[0], Finding::NoProfile);
        assert_eq!(appraisal.profile, None);
    }
}

#[test]
fn the_profile_of_another_application_is_none() {
    let mut scene = Scene::clean();
    scene.profile.application = "other".into();
    assert_eq!(scene.appraise().status, Status::None);
}

#[test]
fn regions_of_the_guests_choice_are_not_affirmed() {
    let profile = ApplicationProfile::try_from(Scene::clean().profile).unwrap();
    let mut verified = Scene::clean().verified();
    let harmless = vec![Region {
        address: 0x1000,
        size: 0x1000,
    }];
    for target in [
        Target::Physical(harmless.clone()),
        Target::Virtual {
            pid: 321,
            regions: harmless,
        },
    ] {
        verified.request.target = target;
        let appraisal = appraise(&verified, Some(&profile));
        assert_eq!(appraisal.status, Status::None);
        assert_eq!(appraisal.findings, [Finding::NotTheProfile]);
    }
}

#[test]
fn an_algorithm_without_references_is_not_judged() {
    let profile = ApplicationProfile::try_from(Scene::clean().profile).unwrap();
    let mut verified = Scene::clean().verified();
    verified.request.algorithm = HashAlgorithm::Sha3_256;
    let appraisal = appraise(&verified, Some(&profile));
    assert_eq!(appraisal.status, Status::None);
    let algorithm = HashAlgorithm::Sha3_256;
    assert_eq!(appraisal.findings, [Finding::NoReferences { algorithm }]);
}

#[test]
fn a_wrong_expectation_is_never_affirmed() {
    let scene = Scene {
        expected: Some(Digest(vec![0; 32])),
        ..Scene::clean()
    };
    let appraisal = scene.appraise();
    assert_eq!(appraisal.status, Status::Contraindicated);
    assert_eq!(appraisal.findings, [Finding::ExpectedDigestDiffers]);
}
