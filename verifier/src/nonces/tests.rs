use std::time::{Duration, Instant};

use bartizan_attestation::identity::{CardId, GuestIdentity};
use proptest::prelude::*;

use super::{NonceBook, NonceError, NonceLimits};

const LIFETIME: Duration = Duration::from_secs(60);

fn guest(card: u8, vm: u8) -> GuestIdentity {
    GuestIdentity {
        card: CardId([card; 32]),
        vm: [vm; 16],
        boot: 1,
    }
}

fn book() -> NonceBook {
    NonceBook::new(NonceLimits {
        lifetime: LIFETIME,
        per_guest: 3,
        per_host: 5,
        total: 8,
    })
}

#[test]
fn a_nonce_is_accepted_once() {
    let (mut book, now) = (book(), Instant::now());
    let nonce = book.issue(guest(1, 1), now).unwrap();
    assert_eq!(book.consume(&nonce, &guest(1, 1), now), Ok(()));
    assert_eq!(
        book.consume(&nonce, &guest(1, 1), now),
        Err(NonceError::Used)
    );
}

#[test]
fn a_nonce_never_issued_is_unknown() {
    assert_eq!(
        book().consume(&[7; 32], &guest(1, 1), Instant::now()),
        Err(NonceError::Unknown)
    );
}

#[test]
fn another_guest_neither_uses_nor_burns_it() {
    let (mut book, now) = (book(), Instant::now());
    let nonce = book.issue(guest(1, 1), now).unwrap();
    let reboot = GuestIdentity {
        boot: 2,
        ..guest(1, 1)
    };
    for other in [guest(1, 2), guest(2, 1), reboot] {
        assert_eq!(book.consume(&nonce, &other, now), Err(NonceError::Foreign));
    }
    assert_eq!(book.consume(&nonce, &guest(1, 1), now), Ok(()));
}

#[test]
fn it_expires_at_the_end_of_its_lifetime() {
    let (mut book, now) = (book(), Instant::now());
    let nonce = book.issue(guest(1, 1), now).unwrap();
    let late = now + LIFETIME;
    assert_eq!(
        book.consume(&nonce, &guest(1, 1), late),
        Err(NonceError::Expired)
    );
    assert_eq!(
        book.consume(&nonce, &guest(1, 1), now),
        Err(NonceError::Expired)
    );
    let swept = book.issue(guest(1, 1), now).unwrap();
    book.issue(guest(1, 1), late).unwrap();
    assert_eq!(
        book.consume(&swept, &guest(1, 1), late),
        Err(NonceError::Expired)
    );
}

#[test]
fn a_restart_forgets_all() {
    let now = Instant::now();
    let nonce = book().issue(guest(1, 1), now).unwrap();
    assert_eq!(
        book().consume(&nonce, &guest(1, 1), now),
        Err(NonceError::Unknown)
    );
}

#[test]
fn a_greedy_guest_and_a_greedy_host_are_bounded() {
    let (mut book, now) = (book(), Instant::now());
    for _ in 0..3 {
        book.issue(guest(1, 1), now).unwrap();
    }
    assert!(matches!(
        book.issue(guest(1, 1), now),
        Err(NonceError::GuestExhausted { limit: 3, .. })
    ));
    book.issue(guest(1, 2), now).unwrap();
    book.issue(guest(1, 3), now).unwrap();
    assert!(matches!(
        book.issue(guest(1, 4), now),
        Err(NonceError::HostExhausted { .. })
    ));
    for _ in 0..3 {
        book.issue(guest(2, 1), now).unwrap();
    }
    assert!(matches!(
        book.issue(guest(3, 1), now),
        Err(NonceError::Exhausted { .. })
    ));
    book.issue(guest(1, 1), now + LIFETIME).unwrap();
}

#[test]
fn however_many_hosts_are_greedy_the_next_gets_one() {
    let now = Instant::now();
    let mut book = NonceBook::new(NonceLimits {
        lifetime: LIFETIME,
        per_guest: 1000,
        per_host: 250,
        total: 1000,
    });
    for card in 0..6 {
        while book.issue(guest(card, 1), now).is_ok() {}
        assert!(matches!(
            book.issue(guest(card, 1), now),
            Err(NonceError::HostExhausted { .. })
        ));
    }
    book.issue(guest(99, 1), now).unwrap();
}

proptest! {
    #[test]
    fn bounds_hold_whatever_is_asked(steps in prop::collection::vec((0u8..3, 0u8..4, any::<bool>(), 0u64..40), 1..200)) {
        let (mut book, mut now) = (book(), Instant::now());
        let mut issued = Vec::new();
        for (card, vm, use_one, seconds) in steps {
            now += Duration::from_secs(seconds);
            if use_one {
                if let Some((nonce, owner)) = issued.pop() {
                    let first = book.consume(&nonce, &owner, now);
                    prop_assert!(matches!(first, Ok(()) | Err(NonceError::Expired)));
                    prop_assert!(book.consume(&nonce, &owner, now).is_err());
                }
            } else if let Ok(nonce) = book.issue(guest(card, vm), now) {
                issued.push((nonce, guest(card, vm)));
            }
            prop_assert!(book.outstanding() <= 8);
            prop_assert!(book.of_guest.values().all(|held| (1..=3).contains(held)));
            prop_assert!(book.of_host.values().all(|held| (1..=5).contains(held)));
            prop_assert_eq!(book.of_guest.values().sum::<usize>(), book.outstanding());
        }
    }
}
