use super::*;

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
