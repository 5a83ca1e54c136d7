//! The card's and the guest's keys, played by the test.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_attestation::cose::{MessageType, PublicKey, Unverified, sign1};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::measurement::{
    DigestKind, HashAlgorithm, MeasurementRequest, Report, Target,
};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384,
    date_time_ymd,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A request for a flat SHA-256.
pub(crate) fn request(target: Target) -> MeasurementRequest {
    MeasurementRequest {
        version: MeasurementRequest::VERSION,
        verifier_nonce: [1; 32],
        guest_nonce: [2; 32],
        audience: "https://relying.example".into(),
        application: "nginx".into(),
        target,
        algorithm: HashAlgorithm::Sha256,
        kind: DigestKind::Flat,
        expected: None,
        page_digests: false,
    }
}

/// Signed by some guest's key: which one is the hypervisor's business.
pub(crate) fn signed(request: &MeasurementRequest) -> Vec<u8> {
    let key = EphemeralKey::generate().unwrap();
    sign1(
        MessageType::MeasurementRequest,
        &request.encode(),
        &[],
        &key,
    )
    .unwrap()
}

/// A chain of one certificate for `csr`.
pub(crate) fn certify(csr: &[u8], lifetime: Duration) -> Vec<Vec<u8>> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let issuer = Issuer::new(CertificateParams::default(), key);
    let mut certified = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    certified.params.not_before = now - Duration::from_secs(60);
    certified.params.not_after = now + lifetime;
    vec![certified.signed_by(&issuer).unwrap().der().to_vec()]
}

/// The report, once its signature by the key of its own chain is verified; and that chain's leaf.
pub(crate) fn verified(report: &[u8]) -> (Report, Vec<u8>) {
    let message = Unverified::parse(report, MessageType::Report).unwrap();
    let leaf = message.chain()[0].clone();
    let (_, certificate) = X509Certificate::from_der(&leaf).unwrap();
    let key = PublicKey::from_spki_der(certificate.public_key().raw).unwrap();
    (
        Report::decode(&message.verify(&key).unwrap()).unwrap(),
        leaf,
    )
}
