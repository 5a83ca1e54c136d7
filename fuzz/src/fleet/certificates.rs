//! The fleet's certificates.

use bartizan_attestation::certificates::tcb_info::{self, TcbInfo};
use bartizan_attestation::certificates::{FleetCa, Usage};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::keys::VaultKind;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PublicKeyData, SanType,
};

use super::Fleet;

/// `ecdsa-with-SHA384` (RFC 5758 section 3.2), an AlgorithmIdentifier in DER.
const ALGORITHM: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";

pub(super) fn fleet_ca(key: &EphemeralKey) -> FleetCa {
    let certificate = ca_params().self_signed(key).expect("the CA signs itself");
    FleetCa::from_der(certificate.der()).expect("a fleet's CA")
}

/// A CA of the fleet, certified by another, for these extended key usages.
pub(super) fn cross(
    subject: &EphemeralKey,
    issuer: &EphemeralKey,
    purposes: Vec<&[u64]>,
) -> Vec<u8> {
    let issuer = Issuer::new(ca_params(), issuer);
    let mut params = ca_params();
    params.extended_key_usages = extended(purposes);
    let link = params.signed_by(subject, &issuer);
    link.expect("the CA signs").der().to_vec()
}

pub(super) fn chain(fleet: &Fleet, usage: Usage) -> Vec<Vec<u8>> {
    let guest = fleet.guest.to_string();
    let of_host = |kind: &str| format!("urn:bartizan:{kind}:{}", fleet.guest.card);
    let (host, enclave) = (of_host("host"), of_host("enclave"));
    match usage {
        Usage::Card => vec![card(fleet)],
        Usage::ReportKey => {
            let measurer = guest.replacen("guest", "measurer", 1);
            vec![
                leaf(fleet, &fleet.report_key, usage, &measurer),
                card(fleet),
            ]
        }
        Usage::GuestKey => vec![leaf(fleet, &fleet.guest_key, usage, &guest), card(fleet)],
        Usage::TlsClient => vec![leaf(fleet, &fleet.report_key, usage, &host), card(fleet)],
        Usage::TlsServer => vec![leaf(fleet, &fleet.guest_key, usage, "")],
        Usage::Operator => {
            let name = "urn:bartizan:operator:alice:administrator";
            vec![leaf(fleet, &fleet.operator_key, usage, name)]
        }
        Usage::Token => vec![leaf(fleet, &fleet.token_key, usage, "urn:bartizan:token")],
        Usage::EnclaveTls | Usage::Evidence => {
            vec![leaf(fleet, &fleet.report_key, usage, &enclave), card(fleet)]
        }
        Usage::Hypervisor => {
            let hypervisor = of_host("hypervisor");
            vec![
                leaf(fleet, &fleet.report_key, usage, &hypervisor),
                card(fleet),
            ]
        }
    }
}

/// What the signature of a certificate or of a certification request covers (RFC 5280 section 4.1, RFC 2986).
///
/// # Panics
///
/// Where `signed` is neither.
#[must_use]
pub fn signed_contents(signed: &[u8]) -> &[u8] {
    let contents = &signed[head_and_length(signed).0..];
    let (head, length) = head_and_length(contents);
    &contents[..head + length]
}

/// Any contents, signed by `key` as in a certificate or certification request.
///
/// # Panics
///
/// Where the contents are longer than an input may be.
#[must_use]
pub fn signed_der(contents: &[u8], key: &EphemeralKey) -> Vec<u8> {
    let signature = key.sign_der(contents).expect("the key signs");
    let bits = tlv(3, &[&[0], signature.as_slice()].concat());
    tlv(0x30, &[contents, ALGORITHM, &bits].concat())
}

/// The length of a DER value's head, and that of its contents.
fn head_and_length(der: &[u8]) -> (usize, usize) {
    match *der {
        [_, length @ 0..=0x7f, ..] => (2, length.into()),
        [_, 0x81, length, ..] => (3, length.into()),
        [_, 0x82, high, low, ..] => (4, u16::from_be_bytes([high, low]).into()),
        _ => panic!("no DER of this fleet"),
    }
}

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).expect("contents are short");
    let bytes = length.to_be_bytes();
    let head = match length {
        0..0x80 => vec![tag, bytes[3]],
        0x80..0x100 => vec![tag, 0x81, bytes[3]],
        0x100..0x1_0000 => vec![tag, 0x82, bytes[2], bytes[3]],
        _ => vec![tag, 0x84, bytes[0], bytes[1], bytes[2], bytes[3]],
    };
    [head.as_slice(), contents].concat()
}

fn card(fleet: &Fleet) -> Vec<u8> {
    let issuer = Issuer::new(ca_params(), &fleet.ca_key);
    let card = card_params(fleet).signed_by(&fleet.card_key, &issuer);
    card.expect("the CA signs").der().to_vec()
}

fn leaf(fleet: &Fleet, key: &impl PublicKeyData, usage: Usage, uri: &str) -> Vec<u8> {
    let issuer = if usage.issued_by_card() {
        Issuer::new(card_params(fleet), &fleet.card_key)
    } else {
        Issuer::new(ca_params(), &fleet.ca_key)
    };
    let leaf = leaf_params(fleet, usage, uri).signed_by(key, &issuer);
    leaf.expect("the issuer signs").der().to_vec()
}

fn ca_params() -> CertificateParams {
    let mut params = params("fleet");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn card_params(fleet: &Fleet) -> CertificateParams {
    let uri = format!("urn:bartizan:host:{}", fleet.guest.card);
    let mut params = leaf_params(fleet, Usage::Card, &uri);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn leaf_params(fleet: &Fleet, usage: Usage, uri: &str) -> CertificateParams {
    let mut params = params(&format!("{usage:?}"));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = extended(usage.extended_key_usages());
    let name = if usage == Usage::TlsServer {
        SanType::DnsName("verifier.example".try_into().expect("a DNS name"))
    } else {
        SanType::URI(uri.try_into().expect("a URI"))
    };
    params.subject_alt_names = vec![name];
    if usage.names_vault() {
        let info = TcbInfo {
            vault: VaultKind::Software,
            launch_measurement: usage
                .carries_launch_measurement()
                .then(|| fleet.launch_measurement()),
            phases: Vec::new(),
        };
        let value = info.encode().expect("a SHA-384 digest");
        let extension = CustomExtension::from_oid_content(tcb_info::OID, value);
        params.custom_extensions.push(extension);
    }
    params
}

fn extended(purposes: Vec<&[u64]>) -> Vec<ExtendedKeyUsagePurpose> {
    let purposes = purposes.into_iter();
    purposes
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
}
