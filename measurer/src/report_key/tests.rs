use rcgen::{
    CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384,
    date_time_ymd,
};

use super::*;

/// A chain for `csr`, valid from `from` to `to` seconds since the Unix epoch.
fn chain(csr: &[u8], from: u64, to: u64) -> Vec<Vec<u8>> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let issuer = Issuer::new(CertificateParams::default(), key);
    let mut request = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
    request.params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from);
    request.params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(to);
    vec![request.signed_by(&issuer).unwrap().der().to_vec()]
}

#[test]
fn the_first_key_is_due_at_once_and_again_only_later() {
    let mut keys = ReportKeys::new();
    let csr = keys.due().unwrap().unwrap();
    assert!(bartizan_attestation::csr::verify(&csr).is_ok());
    assert!(keys.due().unwrap().is_none());
    assert!(keys.current().is_none());
}

#[test]
fn a_certified_key_is_renewed_at_half_life_and_signs_on_meanwhile() {
    let mut keys = ReportKeys::new();
    let csr = keys.due().unwrap().unwrap();
    let now = unix_now();
    keys.install(chain(&csr, now - 60, now + 100)).unwrap();
    let first = keys.current().unwrap().chain.clone();
    let renewal = keys.next_due().unwrap() - Instant::now();
    assert!(renewal > Duration::from_secs(48) && renewal <= Duration::from_secs(50));
    // As if half the life were over.
    keys.current.as_mut().unwrap().renew_at = Instant::now();
    let second = keys.due().unwrap().unwrap();
    assert_ne!(second, csr);
    assert_eq!(keys.current().unwrap().chain, first);
    keys.install(chain(&second, now - 60, now + 100)).unwrap();
    assert_ne!(keys.current().unwrap().chain, first);
}

#[test]
fn a_foreign_expired_or_unwanted_certificate_is_refused() {
    let now = unix_now();
    let mut keys = ReportKeys::new();
    assert!(matches!(keys.install(vec![]), Err(InstallError::NotAsked)));
    let csr = keys.due().unwrap().unwrap();
    let foreign = EphemeralKey::generate().unwrap().csr().unwrap();
    let other = keys.install(chain(&foreign, now - 60, now + 100));
    assert!(matches!(other, Err(InstallError::OtherKey)));
    let expired = keys.install(chain(&csr, now - 60, now - 1));
    assert!(matches!(expired, Err(InstallError::NotValidNow)));
    let early = keys.install(chain(&csr, now + 60, now + 100));
    assert!(matches!(early, Err(InstallError::NotValidNow)));
    assert!(matches!(
        keys.install(vec![vec![0; 10]]),
        Err(InstallError::Malformed)
    ));
    assert!(keys.current().is_none());
}

#[test]
fn an_expired_key_signs_nothing() {
    let mut keys = ReportKeys::new();
    let csr = keys.due().unwrap().unwrap();
    let now = unix_now();
    keys.install(chain(&csr, now - 60, now + 100)).unwrap();
    keys.current.as_mut().unwrap().not_after = now - 1;
    assert!(keys.current().is_none());
}

/// The host's clock was set, by years either way: the key signs nothing meanwhile, and another is asked for, not only at half life.
#[test]
fn a_key_that_the_clock_has_left_is_replaced_at_once() {
    let years = 5 * 365 * 86_400;
    let now = unix_now();
    for (from, to) in [
        (now - years - 60, now - years + 100),
        (now + years - 60, now + years + 100),
    ] {
        let mut keys = ReportKeys::new();
        let csr = keys.due().unwrap().unwrap();
        keys.install(chain(&csr, now - 60, now + 100)).unwrap();
        assert!(keys.due().unwrap().is_none());
        let current = keys.current.as_mut().unwrap();
        (current.not_before, current.not_after) = (from, to);
        assert!(keys.current().is_none());
        let next = keys.due().unwrap().unwrap();
        assert_ne!(next, csr);
        assert!(keys.due().unwrap().is_none(), "asked for once");
        keys.install(chain(&next, now - 60, now + 100)).unwrap();
        assert!(keys.current().is_some());
    }
    // One that is right again by itself signs again.
    let mut keys = ReportKeys::new();
    let csr = keys.due().unwrap().unwrap();
    keys.install(chain(&csr, now - 60, now + 100)).unwrap();
    keys.current.as_mut().unwrap().not_before = now + 50;
    assert!(keys.current().is_none());
    keys.current.as_mut().unwrap().not_before = now - 60;
    assert!(keys.current().is_some());
}
