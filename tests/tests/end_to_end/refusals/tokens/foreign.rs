//! A verifier of another fleet, complete with its CA, whose certificates are what Bartizan's look like.

use anyhow::Result;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_attestation::certificates::{FleetCa, Usage};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::result::{compact, signing_input};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};

/// The verifier: its token key and certificate.
pub(super) struct Verifier {
    pub(super) fleet_ca: FleetCa,
    key: EcdsaKeyPair,
    certificate: Vec<u8>,
}

struct TokenKey<'k>(&'k EcdsaKeyPair);

impl PublicKeyData for TokenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl Verifier {
    /// Makes a fleet and its verifier.
    pub(super) fn of_another_fleet() -> Result<Self> {
        let ca_key = EphemeralKey::generate()?;
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "demo fleet");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let fleet_ca = FleetCa::from_der(ca.self_signed(&ca_key)?.der())?;

        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name.push(DnType::CommonName, "token");
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let purposes = Usage::Token.extended_key_usages().into_iter();
        leaf.extended_key_usages = purposes
            .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
            .collect();
        leaf.subject_alt_names = vec![SanType::URI("urn:bartizan:token".try_into()?)];
        let certificate = leaf.signed_by(&TokenKey(&key), &Issuer::new(ca, &ca_key))?;
        Ok(Self {
            fleet_ca,
            certificate: certificate.der().to_vec(),
            key,
        })
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &str) -> Result<String> {
        let input = signing_input(&self.certificate, claims);
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes())?;
        Ok(compact(&input, signature.as_ref()))
    }

    /// The certificate, as the verifier would publish it.
    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        vec![self.certificate.clone()]
    }
}
