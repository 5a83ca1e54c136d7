use std::time::{Duration, Instant};

use bartizan_attestation::identity::{CardId, GuestIdentity};
use proptest::prelude::*;

use super::buckets::FIRST_SWEEP;
use super::{QuotaError, VerdictQuota};
use crate::config::QuotaLimits;

fn guest(card: u8, vm: u8, boot: u64) -> GuestIdentity {
    GuestIdentity {
        card: CardId([card; 32]),
        vm: [vm; 16],
        boot,
    }
}

fn quota() -> VerdictQuota {
    VerdictQuota::new(&QuotaLimits {
        per_guest_per_minute: 6,
        guest_burst: 3,
        per_host_per_minute: 60,
        host_burst: 5,
    })
}

#[test]
fn a_vm_has_a_burst_and_then_a_rate_however_often_it_boots() {
    let (quota, now) = (quota(), Instant::now());
    for boot in 0..3 {
        quota.spend(&guest(1, 1, boot), now).unwrap();
    }
    let retry_after = Duration::from_secs(10);
    let refused = quota.spend(&guest(1, 1, 9), now);
    assert_eq!(refused, Err(QuotaError::Guest { retry_after }));
    assert_eq!(quota.check(&guest(1, 1, 9), now), refused);
    quota.spend(&guest(1, 2, 1), now).unwrap();
    quota.spend(&guest(1, 1, 9), now + retry_after).unwrap();
    assert!(quota.spend(&guest(1, 1, 9), now + retry_after).is_err());
}

#[test]
fn a_host_has_one_too_and_another_host_is_not_concerned() {
    let (quota, now) = (quota(), Instant::now());
    for vm in 0..5 {
        quota.spend(&guest(1, vm, 1), now).unwrap();
    }
    let retry_after = Duration::from_secs(1);
    let refused = Err(QuotaError::Host { retry_after });
    assert_eq!(quota.spend(&guest(1, 9, 1), now), refused);
    assert_eq!(quota.check_host(CardId([1; 32]), now), refused);
    quota.spend(&guest(2, 9, 1), now).unwrap();
}

#[test]
fn what_was_used_already_is_a_debt() {
    let (quota, now) = (quota(), Instant::now());
    quota.spend(&guest(1, 1, 1), now).unwrap();
    quota.spend_more(&guest(1, 1, 1), 4, now);
    let until = |seconds| now + Duration::from_secs(seconds);
    assert!(quota.check(&guest(1, 1, 1), until(29)).is_err());
    quota.check(&guest(1, 1, 1), until(30)).unwrap();
}

#[test]
fn full_buckets_are_forgotten() {
    let (quota, mut now) = (quota(), Instant::now());
    for number in 0..4 * FIRST_SWEEP {
        let mut guest = guest(0, 0, 1);
        guest.vm[..8].copy_from_slice(&number.to_be_bytes());
        now += Duration::from_secs(1);
        quota.spend(&guest, now).unwrap();
        assert!(quota.lock().guests.len() <= FIRST_SWEEP);
    }
}

proptest! {
    #[test]
    fn no_vm_ever_has_more_than_a_burst_and_its_rate(
        steps in prop::collection::vec((0u8..3, 0u64..4000, 1u32..4), 1..200),
    ) {
        let quota = quota();
        let begun = Instant::now();
        let mut now = begun;
        let mut spent = [0u32; 3];
        for (vm, milliseconds, units) in steps {
            now += Duration::from_millis(milliseconds);
            let guest = guest(1, vm, 1);
            if quota.spend(&guest, now).is_ok() {
                quota.spend_more(&guest, units - 1, now);
                spent[usize::from(vm)] += units;
            }
            let elapsed = (now - begun).as_secs_f64();
            // A verdict may overdraw by what it turned out to cost.
            prop_assert!(f64::from(spent[usize::from(vm)]) <= 3.0 + 2.0 + elapsed / 10.0 + 0.001);
            prop_assert!(f64::from(spent.iter().sum::<u32>()) <= 5.0 + 2.0 + elapsed + 0.001);
        }
    }
}
