//! Certificates: what each is for, who may have one, for how long.

use bartizan_attestation::keys::EnclaveChains;

use super::*;

#[test]
fn every_certificate_is_what_its_usage_demands() {
    let (verifier, host, ca) = fleet();
    let csr = || EphemeralKey::generate().unwrap().csr().unwrap();
    let (guest, launch_measurement) = (guest(&host.vault), Digest(vec![9; 48]));
    let names = vec!["localhost".into(), "127.0.0.1".into()];
    let issued = [
        (
            Usage::Operator,
            verifier.vault.answer(
                VaultRequest::IssueOperator {
                    csr: csr(),
                    name: "alice".into(),
                },
                NOW,
            ),
        ),
        (
            Usage::TlsServer,
            verifier.vault.answer(
                VaultRequest::RotateTlsServer {
                    names,
                    lifetime_s: 60,
                },
                NOW,
            ),
        ),
        (
            Usage::Token,
            verifier
                .vault
                .answer(VaultRequest::RotateToken { lifetime_s: 60 }, NOW),
        ),
        (
            Usage::TlsClient,
            host.vault
                .answer(VaultRequest::RotateTlsClient { lifetime_s: 60 }, NOW),
        ),
        (
            Usage::ReportKey,
            host.vault.answer(
                VaultRequest::CertifyReportKey {
                    csr: csr(),
                    guest,
                    launch_measurement: launch_measurement.clone(),
                    lifetime_s: 60,
                },
                NOW,
            ),
        ),
        (
            Usage::GuestKey,
            host.vault.answer(
                VaultRequest::CertifyGuestKey {
                    csr: csr(),
                    guest,
                    launch_measurement,
                    lifetime_s: 60,
                },
                NOW,
            ),
        ),
    ];
    let hypervisor = VaultRequest::CertifyHypervisor {
        csr: csr(),
        lifetime_s: 60,
    };
    let hypervisor = (Usage::Hypervisor, host.vault.answer(hypervisor, NOW));
    let enclave = enclave(host.vault.answer(of_enclave(csr(), csr(), 60), NOW));
    let enclave = [
        (Usage::EnclaveTls, VaultReply::Certificates(enclave.tls)),
        (Usage::Evidence, VaultReply::Certificates(enclave.evidence)),
    ];
    let issued = issued.into_iter().chain([hypervisor]).chain(enclave);
    for (usage, reply) in issued {
        let verified = verify_chain(&certificates(reply), &ca, NOW, usage).unwrap();
        assert_eq!(
            verified.not_after,
            if usage == Usage::Operator {
                NOW + YEAR_S
            } else {
                NOW + 60
            }
        );
        match usage {
            Usage::EnclaveTls | Usage::Evidence => {
                assert_eq!(verified.subject, Subject::Enclave(guest.card));
            }
            Usage::Hypervisor => {
                assert_eq!(verified.subject, Subject::Hypervisor(guest.card));
            }
            _ => {}
        }
        if usage == Usage::ReportKey {
            assert_eq!(verified.subject, Subject::Measurer(guest));
            assert_eq!(verified.launch_measurement, Some(Digest(vec![9; 48])));
        }
    }
}

fn of_enclave(tls: Vec<u8>, evidence: Vec<u8>, lifetime_s: u64) -> VaultRequest {
    VaultRequest::CertifyEnclave {
        tls,
        evidence,
        lifetime_s,
    }
}

fn enclave(reply: VaultReply) -> EnclaveChains {
    match reply {
        VaultReply::Enclave(chains) => chains,
        other => panic!("{other:?}"),
    }
}

/// A handshake's signature must never pass for evidence.
#[test]
fn an_enclave_has_a_key_for_each_purpose_and_proves_both() {
    let (_, host, _) = fleet();
    let key = EphemeralKey::generate().unwrap();
    let csr = || key.csr().unwrap();
    let refused = |tls, evidence| {
        let reply = host.vault.answer(of_enclave(tls, evidence, 60), NOW);
        assert!(
            matches!(reply, VaultReply::Refused(VaultRefusal::NotSignable(_))),
            "{reply:?}"
        );
    };
    refused(csr(), csr());
    let mut forged = EphemeralKey::generate().unwrap().csr().unwrap();
    *forged.last_mut().unwrap() ^= 1;
    refused(csr(), forged.clone());
    refused(forged, csr());
}

#[test]
fn no_certificate_lasts_longer_than_its_usage_may() {
    const HOUR_S: u64 = 3600;
    let (verifier, host, ca) = fleet();
    let guest = guest(&host.vault);
    let ask = |usage, lifetime_s| {
        let csr = EphemeralKey::generate().unwrap().csr().unwrap();
        let launch_measurement = Digest(vec![9; 48]);
        match usage {
            Usage::TlsClient => {
                (host.vault).answer(VaultRequest::RotateTlsClient { lifetime_s }, NOW)
            }
            Usage::ReportKey => {
                let request = VaultRequest::CertifyReportKey {
                    csr,
                    guest,
                    launch_measurement,
                    lifetime_s,
                };
                host.vault.answer(request, NOW)
            }
            Usage::GuestKey => {
                let request = VaultRequest::CertifyGuestKey {
                    csr,
                    guest,
                    launch_measurement,
                    lifetime_s,
                };
                host.vault.answer(request, NOW)
            }
            Usage::Hypervisor => {
                (host.vault).answer(VaultRequest::CertifyHypervisor { csr, lifetime_s }, NOW)
            }
            Usage::EnclaveTls | Usage::Evidence => {
                let other = EphemeralKey::generate().unwrap().csr().unwrap();
                match (host.vault).answer(of_enclave(csr, other, lifetime_s), NOW) {
                    VaultReply::Enclave(chains) if usage == Usage::Evidence => {
                        VaultReply::Certificates(chains.evidence)
                    }
                    VaultReply::Enclave(chains) => VaultReply::Certificates(chains.tls),
                    refused => refused,
                }
            }
            Usage::TlsServer => {
                let names = vec!["localhost".into()];
                let request = VaultRequest::RotateTlsServer { names, lifetime_s };
                verifier.vault.answer(request, NOW)
            }
            _ => (verifier.vault).answer(VaultRequest::RotateToken { lifetime_s }, NOW),
        }
    };
    for (usage, longest_s) in [
        (Usage::TlsClient, HOUR_S),
        (Usage::ReportKey, HOUR_S),
        (Usage::EnclaveTls, HOUR_S),
        (Usage::Evidence, HOUR_S),
        (Usage::Hypervisor, HOUR_S),
        (Usage::GuestKey, 24 * HOUR_S),
        (Usage::TlsServer, 7 * 24 * HOUR_S),
        (Usage::Token, 7 * 24 * HOUR_S),
    ] {
        let chain = certificates(ask(usage, longest_s));
        let verified = verify_chain(&chain, &ca, NOW, usage).unwrap();
        assert_eq!(verified.not_after, NOW + longest_s, "{usage:?}");
        for wrong in [0, longest_s + 1, u64::MAX] {
            let refused = refusal(ask(usage, wrong));
            assert!(matches!(refused, VaultRefusal::NotSignable(_)), "{usage:?}");
        }
    }
}

#[test]
fn a_card_certifies_its_own_guests_only() {
    let (_, host, _) = fleet();
    let mut other = guest(&host.vault);
    other.card.0[0] ^= 1;
    let csr = EphemeralKey::generate().unwrap().csr().unwrap();
    let launch_measurement = Digest(vec![9; 48]);
    let request = VaultRequest::CertifyGuestKey {
        csr,
        guest: other,
        launch_measurement,
        lifetime_s: 60,
    };
    assert!(matches!(
        refusal(host.vault.answer(request, NOW)),
        VaultRefusal::NotSignable(_)
    ));
}

#[test]
fn a_csr_without_proof_of_possession_is_refused() {
    let (verifier, _, _) = fleet();
    let mut csr = EphemeralKey::generate().unwrap().csr().unwrap();
    let last = csr.len() - 1;
    csr[last] ^= 1;
    let request = VaultRequest::IssueHost {
        csr,
        name: "host-3".into(),
        vault: VaultKind::Software,
    };
    assert!(matches!(
        refusal(verifier.vault.answer(request, NOW)),
        VaultRefusal::NotSignable(_)
    ));
}
