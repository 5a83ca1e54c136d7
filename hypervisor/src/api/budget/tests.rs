use super::*;

const WINDOW: Duration = Duration::from_secs(60);

fn budget() -> Arc<Budget> {
    Budget::new(launch::Budget {
        bytes_per_request: 4096,
        concurrent: 2,
        requests_per_minute: 3,
        pause_ms_per_minute: 100,
    })
}

#[test]
fn a_place_is_free_again_when_its_request_ends() {
    let (budget, now) = (budget(), Instant::now());
    let first = budget.admit(now).unwrap();
    let _second = budget.admit(now).unwrap();
    assert!(matches!(budget.admit(now), Err(Refusal::Busy { .. })));
    drop(first);
    assert!(budget.admit(now).is_ok());
}

#[test]
fn requests_of_a_minute_are_counted_and_forgotten() {
    let (budget, now) = (budget(), Instant::now());
    for _ in 0..3 {
        budget.admit(now).unwrap();
    }
    let later = now + Duration::from_secs(20);
    assert_eq!(
        budget.admit(later).unwrap_err(),
        Refusal::Busy {
            retry_after_ms: 40_000
        }
    );
    assert!(budget.admit(now + WINDOW).is_ok());
}

#[test]
fn pauses_of_a_minute_are_summed() {
    let (budget, now) = (budget(), Instant::now());
    budget
        .admit(now)
        .unwrap()
        .paused(now, Duration::from_millis(100));
    assert!(matches!(budget.admit(now), Err(Refusal::Busy { .. })));
    assert!(budget.admit(now + WINDOW).is_ok());
}
