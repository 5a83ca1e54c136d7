//! Certificates: what each is for, who may have one, for how long.

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
        if usage == Usage::ReportKey {
            assert_eq!(verified.subject, Subject::Measurer(guest));
            assert_eq!(verified.launch_measurement, Some(Digest(vec![9; 48])));
        }
    }
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
