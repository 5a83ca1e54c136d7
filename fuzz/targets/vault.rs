//! What a vault signs. The first byte selects the vault, the rest is a request. What differs from run to run is put
//! in: the card for the fleet's, the vault's own TLS or token certificate; and a CSR is the contents of one that is signed.
#![no_main]

use bartizan_attestation::certificates::{Role, Subject, Usage, verify_chain};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{Chain, VaultReply, VaultRequest};
use bartizan_attestation::result::check_claims_json;
use bartizan_fuzz::fleet::{FLEET, NOW_S, signed_der};
use bartizan_fuzz::vault::VAULTS;
use bartizan_local::decode;
use libfuzzer_sys::fuzz_target;

const HOUR_S: u64 = 3600;

fuzz_target!(|data: &[u8]| {
    let Some((&selector, bytes)) = data.split_first() else {
        return;
    };
    let is_host = selector & 1 == 0;
    let (vault, tls) = match is_host {
        true => (&VAULTS.host, &VAULTS.tls_client),
        false => (&VAULTS.verifier, &VAULTS.tls_server),
    };
    let Ok(mut request) = decode::<VaultRequest>(bytes) else {
        return;
    };
    match &mut request {
        VaultRequest::IssueHost { csr, .. } | VaultRequest::IssueOperator { csr, .. } => {
            *csr = signed_der(csr, &FLEET.guest_key)
        }
        VaultRequest::CertifyReportKey { csr, guest, .. }
        | VaultRequest::CertifyGuestKey { csr, guest, .. } => {
            *csr = signed_der(csr, &FLEET.guest_key);
            if guest.card == FLEET.guest.card {
                guest.card = VAULTS.card;
            }
        }
        VaultRequest::CertifyEnclave { tls, evidence, .. } => {
            *tls = signed_der(tls, &FLEET.guest_key);
            *evidence = signed_der(evidence, &FLEET.report_key);
        }
        VaultRequest::CertifyHypervisor { csr, .. } => *csr = signed_der(csr, &FLEET.guest_key),
        VaultRequest::SignTls { certificate, .. } => certificate.clone_from(tls),
        VaultRequest::SignToken { certificate, .. } => certificate.clone_from(&VAULTS.token),
        VaultRequest::Describe => {}
        // Of no statement: none waits.
        VaultRequest::TakeMark { .. } => {}
        // These change what is stored.
        _ => return,
    }
    match (vault.answer(request.clone(), NOW_S), request) {
        (VaultReply::Refused(_), _) | (VaultReply::Description { .. }, VaultRequest::Describe) => {}
        (VaultReply::Certificates(chain), request) => certifies(&chain, request, is_host),
        (VaultReply::Enclave(chains), VaultRequest::CertifyEnclave { .. }) if is_host => {
            let enclave = Subject::Enclave(VAULTS.card);
            let keys = [
                (Usage::EnclaveTls, &chains.tls, &FLEET.guest_key),
                (Usage::Evidence, &chains.evidence, &FLEET.report_key),
            ];
            for (usage, chain, key) in keys {
                let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
                let issued = verify_chain(&chain, &VAULTS.ca, NOW_S, usage);
                let issued = issued.expect("what is issued is right");
                assert_eq!(
                    (&issued.subject, issued.public_key),
                    (&enclave, key.public_key())
                );
                assert!(issued.not_after <= NOW_S + HOUR_S);
            }
        }
        (VaultReply::Signature(_), VaultRequest::SignTls { message, .. }) => {
            let side = if is_host { "client" } else { "server" };
            let head = format!("{:64}TLS 1.3, {side} CertificateVerify\0", "");
            let hash = message
                .strip_prefix(head.as_bytes())
                .expect("a handshake's contents");
            assert!(matches!(hash.len(), 32 | 48));
        }
        (VaultReply::Token(_), VaultRequest::SignToken { claims, .. }) if !is_host => {
            check_claims_json(&claims).expect("the claims of a result");
        }
        (reply, request) => panic!("{request:?} was answered by {reply:?}"),
    }
});

/// What is certified is the key that was proven, of the very subject asked for, and not for long.
fn certifies(chain: &Chain, request: VaultRequest, by_host: bool) {
    let guest_key = FLEET.guest_key.public_key();
    let (usage, subject, launch) = match request {
        VaultRequest::IssueHost { .. } if !by_host => {
            (Usage::Card, Subject::Host(CardId(guest_key.sha256())), None)
        }
        VaultRequest::IssueOperator { name, .. } if !by_host => {
            let role = Role::Administrator;
            (Usage::Operator, Subject::Operator { name, role }, None)
        }
        VaultRequest::CertifyReportKey {
            guest,
            launch_measurement,
            ..
        } if by_host => (
            Usage::ReportKey,
            Subject::Measurer(guest),
            Some(launch_measurement),
        ),
        VaultRequest::CertifyGuestKey {
            guest,
            launch_measurement,
            ..
        } if by_host => (
            Usage::GuestKey,
            Subject::Guest(guest),
            Some(launch_measurement),
        ),
        VaultRequest::CertifyHypervisor { .. } if by_host => {
            (Usage::Hypervisor, Subject::Hypervisor(VAULTS.card), None)
        }
        other => panic!("{other:?} was answered by certificates"),
    };
    let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
    let issued = verify_chain(&chain, &VAULTS.ca, NOW_S, usage).expect("what is issued is right");
    assert_eq!((issued.subject, issued.public_key), (subject, guest_key));
    assert_eq!(issued.launch_measurement, launch);
    if by_host {
        assert_eq!(issued.card, Some(VAULTS.card));
        let longest_s = match usage {
            Usage::GuestKey => 24 * HOUR_S,
            _ => HOUR_S,
        };
        assert!(issued.not_after <= NOW_S + longest_s);
    }
}
