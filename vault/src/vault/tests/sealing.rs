//! The sealing key is rotated by what is asked of a vault a few times a day anyway.

use super::*;

const DAY_S: u64 = 86_400;

/// How many sealing keys were destroyed so far.
fn destroyed(vault: &Vault) -> usize {
    let VaultReply::History(events) = vault.answer(VaultRequest::History, NOW) else {
        panic!("no history");
    };
    let destroyed = |what: &KeyEventKind| matches!(what, KeyEventKind::Destroyed);
    let of_sealing = events
        .iter()
        .filter(|event| event.kind == KeyKind::Sealing && destroyed(&event.what));
    of_sealing.count()
}

fn server() -> VaultRequest {
    VaultRequest::RotateTlsServer {
        names: vec!["verifier.test".into()],
        lifetime_s: 3600,
    }
}

fn client() -> VaultRequest {
    VaultRequest::RotateTlsClient { lifetime_s: 3600 }
}

/// Its keys go on: those that certify were made before.
#[test]
fn a_year_after_the_last_it_is_rotated_once() {
    let (verifier, host, _) = fleet();
    let vaults: [(_, _, fn() -> _); 2] = [
        (Role::Verifier, verifier, server),
        (Role::Host, host, client),
    ];
    for (role, Opened { vault, folder }, regular) in vaults {
        for (days, request, due) in [
            (0, regular(), 0),
            (364, regular(), 0),
            // Whatever else is asked has it wait.
            (366, VaultRequest::Describe, 0),
            (366, regular(), 1),
            (366, regular(), 1),
            (730, regular(), 1),
            (732, regular(), 2),
        ] {
            let reply = vault.answer(request, NOW + days * DAY_S);
            assert!(!matches!(reply, VaultReply::Refused(_)), "{reply:?}");
            assert_eq!(destroyed(&vault), due, "{role:?}, after {days} days");
        }
        drop(vault);
        let vault = again(role, &folder);
        certificates(vault.answer(regular(), NOW + 733 * DAY_S));
        assert_eq!(destroyed(&vault), 2);
    }
}

/// A vault whose keys are shut writes nothing of them anew.
#[test]
fn it_waits_for_the_boot() {
    let (_, host, _) = fleet();
    certificates(host.vault.answer(client(), NOW));
    let demanded = MeasuredBoot {
        release_key: [7; 32],
    };
    let vault = again(Role::Host, &host.folder).with_measured_boot(Some(demanded));
    let shut = refusal(vault.answer(client(), NOW + 366 * DAY_S));
    assert!(matches!(shut, VaultRefusal::Shut { .. }), "{shut}");
    assert_eq!(destroyed(&vault), 0);
    drop(vault);
    let open = again(Role::Host, &host.folder);
    certificates(open.answer(client(), NOW + 366 * DAY_S));
    assert_eq!(destroyed(&open), 1);
}
