use super::*;

const GUEST: GuestBoot = GuestBoot {
    vm: [1; 16],
    boot: 1,
};

fn started() -> What {
    What::Started { set: None }
}

fn take(witness: &Witness, pieces: usize) -> Vec<Gathered> {
    witness.take(pieces, Instant::now())
}

#[tokio::test(start_paused = true)]
async fn events_are_gathered_for_a_while() {
    let witness = Witness::default();
    witness.note(started());
    assert_eq!(take(&witness, 8), []);
    witness.until_due().await;
    witness.note(started());
    let [Gathered { events, dropped: 0 }] = &take(&witness, 8)[..] else {
        panic!("one piece is due");
    };
    assert_eq!(events.len(), 2);
    assert_eq!(take(&witness, 8), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_is_counted_and_waits_for_less_when_something_happens() {
    let witness = Witness::default();
    let begun = Instant::now();
    for _ in 0..1000 {
        witness.denied(GUEST, "web/only");
    }
    witness.denied(GUEST, "no rule");
    witness.until_due().await;
    assert_eq!(begun.elapsed(), DENIED);
    let taken = take(&witness, 8);
    let events = &taken[0].events;
    assert_eq!((taken.len(), events.len()), (1, 2));
    let What::Denied { decisions, by, .. } = &events[1].what else {
        panic!("{events:?}");
    };
    assert_eq!((decisions.get(), by.as_str()), (1000, "web/only"));
    // Beside something else it is said with it.
    let begun = Instant::now();
    witness.denied(GUEST, "web/only");
    witness.note(started());
    witness.until_due().await;
    assert_eq!(begun.elapsed(), SOON);
    assert_eq!(take(&witness, 8)[0].events.len(), 2);
}

/// Known attack: what a guest is denied takes the room of what its operator waits for.
#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_for_is_counted() {
    let witness = Witness::default();
    for reason in 0..MAX_DENIED + 7 {
        witness.denied(GUEST, &reason.to_string());
    }
    witness.note(started());
    witness.until_due().await;
    let taken = take(&witness, usize::MAX);
    assert_eq!(taken[0].dropped, 7);
    assert_eq!(taken[0].events[0].what, started());
    let all: usize = taken.iter().map(|of| of.events.len()).sum();
    assert_eq!(all, MAX_DENIED + 1);
    assert!(taken.iter().all(|of| of.events.len() <= MAX_EVENTS));
    for _ in 0..MAX_WAITING + 5 {
        witness.note(started());
    }
    witness.until_due().await;
    let first = take(&witness, 1);
    assert_eq!((first[0].dropped, first[0].events.len()), (5, MAX_EVENTS));
    // The rest is due at once.
    let rest = take(&witness, usize::MAX);
    let rest: usize = rest.iter().map(|of| of.events.len()).sum();
    assert_eq!(rest, MAX_WAITING - MAX_EVENTS);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_said() {
    let witness = Witness::default();
    witness.note(started());
    witness.until_due().await;
    let taken = take(&witness, 8);
    witness.lost(&taken);
    witness.until_due().await;
    let said = take(&witness, 8);
    assert_eq!((said[0].events.len(), said[0].dropped), (0, 1));
}

#[test]
fn reasons_are_cut_between_characters() {
    assert_eq!(short("é").len(), 2);
    assert_eq!(short(&"é".repeat(MAX_WHY)).len(), MAX_WHY);
    assert_eq!(
        short(&format!("x{}", "é".repeat(MAX_WHY))).len(),
        MAX_WHY - 1
    );
}
