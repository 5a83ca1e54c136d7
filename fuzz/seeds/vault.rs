//! Requests to vaults; the target's first byte selects the vault, 0 the host's and 1 the verifier's.

use bartizan_attestation::keys::{Purpose, VaultKind, VaultRequest};
use bartizan_fuzz::fleet::{FLEET, signed_contents};
use bartizan_local::encode;

use crate::Seed;

pub(crate) fn seeds(claims: &str) -> Vec<Seed> {
    let csr = FLEET.guest_key.csr().unwrap();
    let csr = signed_contents(&csr).to_vec();
    let (guest, launch_measurement, lifetime_s) = (FLEET.guest, FLEET.launch_measurement(), 3600);
    let report_key = VaultRequest::CertifyReportKey {
        csr: csr.clone(),
        guest,
        launch_measurement: launch_measurement.clone(),
        lifetime_s,
    };
    let guest_key = VaultRequest::CertifyGuestKey {
        csr: csr.clone(),
        guest,
        launch_measurement,
        lifetime_s,
    };
    let enclave = VaultRequest::CertifyEnclave {
        tls: csr.clone(),
        evidence: csr.clone(),
        lifetime_s,
    };
    let hypervisor = VaultRequest::CertifyHypervisor {
        csr: csr.clone(),
        lifetime_s,
    };
    let host = VaultRequest::IssueHost {
        csr: csr.clone(),
        name: "host-2".into(),
        vault: VaultKind::Software,
    };
    let operator = VaultRequest::IssueOperator {
        csr,
        name: "alice".into(),
    };
    let token = VaultRequest::SignToken {
        claims: claims.into(),
        certificate: Vec::new(),
    };
    let seed = |selector: u8, name, request| {
        let bytes = encode::<VaultRequest>(&request);
        ("vault", name, [vec![selector], bytes].concat())
    };
    vec![
        seed(0, "report-key", report_key),
        seed(0, "guest-key", guest_key),
        seed(0, "enclave", enclave),
        seed(0, "hypervisor", hypervisor),
        seed(0, "tls-client", handshake(Purpose::TlsClient, "client")),
        seed(1, "tls-server", handshake(Purpose::TlsServer, "server")),
        seed(1, "host", host),
        seed(1, "operator", operator),
        seed(1, "token", token),
    ]
}

/// The contents of a CertificateVerify (RFC 8446 section 4.4.3).
fn handshake(purpose: Purpose, side: &str) -> VaultRequest {
    let head = format!("{:64}TLS 1.3, {side} CertificateVerify\0", "");
    VaultRequest::SignTls {
        purpose,
        certificate: Vec::new(),
        message: [head.as_bytes(), &[7; 48]].concat(),
    }
}
