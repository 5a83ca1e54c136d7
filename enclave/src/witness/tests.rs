use super::*;

const GUEST: GuestBoot = guest(1);

const fn guest(number: u128) -> GuestBoot {
    GuestBoot {
        vm: number.to_be_bytes(),
        boot: 1,
    }
}

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

/// Where nothing happens that is said, too.
#[tokio::test(start_paused = true)]
async fn something_is_due_each_hour() {
    let witness = Witness::default();
    witness.note(started());
    witness.until_due().await;
    take(&witness, 8);
    for _ in 0..3 {
        let begun = Instant::now();
        witness.until_due().await;
        assert_eq!(begun.elapsed(), HOUR);
        let (events, dropped) = (Vec::new(), 0);
        assert_eq!(take(&witness, 8), [Gathered { events, dropped }]);
    }
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

#[tokio::test(start_paused = true)]
async fn of_what_a_guest_is_taken_for_the_last_is_told() {
    let witness = Witness::default();
    let begun = Instant::now();
    for taken_for in [Taken::Affirming, Taken::None, Taken::Contraindicated] {
        witness.taken_for(GUEST, taken_for);
    }
    witness.until_due().await;
    assert_eq!(begun.elapsed(), TRUST);
    let what = What::Trust {
        guest: of_boot(GUEST),
        taken_for: Taken::Contraindicated,
    };
    let events = &take(&witness, 8)[0].events;
    assert_eq!((events.len(), &events[0].what), (1, &what));
}

/// Known attack: what guests are denied takes the room of what their operator waits for.
#[tokio::test(start_paused = true)]
async fn what_guests_can_have_happen_comes_last_and_keeps_to_its_room() {
    let witness = Witness::default();
    let begin = Instant::now();
    let (mut denied, mut told) = (0, 0);
    let counted = |of: &Gathered| of.dropped + of.events.iter().map(decisions).sum::<u64>();
    // As little is taken as can be, and each time there is more than that.
    for turn in 0..100_u128 {
        for number in 0..MAX_DENIED as u128 {
            witness.denied(guest(number), &turn.to_string());
            denied += 1;
        }
        witness.note(started());
        witness.until_due().await;
        let taken = take(&witness, 1);
        assert_eq!(taken[0].events[0].what, started(), "turn {turn}");
        assert_eq!(taken[0].events.len(), MAX_EVENTS);
        told += counted(&taken[0]);
    }
    assert!(begin.elapsed() <= 101 * SOON);
    // All of it was told or counted.
    loop {
        witness.until_due().await;
        let taken = take(&witness, 1);
        if taken[0].events.is_empty() {
            break;
        }
        told += counted(&taken[0]);
    }
    assert_eq!(told, denied);
}

fn decisions(event: &Event) -> u64 {
    match &event.what {
        What::Denied { decisions, .. } => decisions.get(),
        _ => 0,
    }
}

/// Known attack: one guest is denied for ever other reasons, so that of others nothing is told.
#[tokio::test(start_paused = true)]
async fn one_guest_has_so_many_reasons() {
    let witness = Witness::default();
    for reason in 0..MAX_DENIED {
        witness.denied(GUEST, &reason.to_string());
    }
    witness.denied(guest(2), "web/only");
    witness.until_due().await;
    let taken = take(&witness, usize::MAX);
    let events = &taken[0].events;
    assert_eq!((events.len(), taken[0].dropped), (MAX_REASONS + 2, 0));
    let all: u64 = events.iter().map(decisions).sum();
    assert_eq!(all, MAX_DENIED as u64 + 1);
    let others = |event: &&Event| matches!(&event.what, What::Denied { by, .. } if by == OTHERS);
    assert_eq!(events.iter().filter(others).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_for_is_counted() {
    let witness = Witness::default();
    for _ in 0..MAX_WAITING + 5 {
        witness.note(started());
    }
    for number in 0..MAX_DENIED as u128 + 7 {
        witness.denied(guest(number), "web/only");
    }
    for number in 0..MAX_TRUST as u128 + 9 {
        witness.taken_for(guest(number), Taken::Affirming);
    }
    witness.until_due().await;
    let first = take(&witness, 1);
    assert_eq!((first[0].dropped, first[0].events.len()), (21, MAX_EVENTS));
    // The rest is due at once.
    let rest = take(&witness, usize::MAX);
    assert!(rest.iter().all(|of| of.events.len() <= MAX_EVENTS));
    let rest: usize = rest.iter().map(|of| of.events.len()).sum();
    assert_eq!(rest, MAX_WAITING + MAX_DENIED + MAX_TRUST - MAX_EVENTS);
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
fn reasons_are_cut_between_characters_and_printable() {
    assert_eq!(short("é").len(), 2);
    assert_eq!(short(&"é".repeat(MAX_WHY)).len(), MAX_WHY);
    assert_eq!(
        short(&format!("x{}", "é".repeat(MAX_WHY))).len(),
        MAX_WHY - 1
    );
    assert_eq!(short("a\nb\u{1b}[2J"), "a b [2J");
}
