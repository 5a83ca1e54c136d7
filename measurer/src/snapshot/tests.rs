use super::*;

const MIB: u64 = 1 << 20;

/// Known failure: a large honest program whose lease ran out each time it was asked for.
#[test]
fn a_lease_grows_with_what_is_copied_and_with_what_it_took_to_find() {
    let ms = Duration::from_millis;
    assert_eq!(lease(0, Duration::ZERO), ms(250));
    assert_eq!(lease(1, Duration::ZERO), ms(254));
    assert_eq!(lease(64 * MIB, Duration::ZERO), ms(506));
    assert_eq!(lease(0, ms(20)), ms(450));
    assert_eq!(lease(512 * MIB, ms(140)), ms(3698));
    assert_eq!(lease(u64::MAX, Duration::MAX), ms(5000));
}

#[test]
fn what_is_inconsistent_is_looked_at_again_and_only_the_last_look_is_timed() {
    let mut looks = 0;
    let (settled, _) = resolve_running(|| {
        looks += 1;
        if looks < ATTEMPTS {
            Err(Refusal::InconsistentMemory(String::new()))
        } else {
            Ok(looks)
        }
    });
    assert_eq!(settled, Ok(ATTEMPTS));
    let mut looks = 0;
    let (refused, _) = resolve_running::<()>(|| {
        looks += 1;
        Err(Refusal::InconsistentMemory(String::new()))
    });
    assert!(matches!(refused, Err(Refusal::InconsistentMemory(_))));
    assert_eq!(looks, ATTEMPTS);
}
