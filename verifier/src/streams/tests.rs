use super::*;

const CARD: CardId = CardId([7; 32]);

fn guest(vm: u128) -> GuestIdentity {
    let vm = vm.to_be_bytes();
    GuestIdentity {
        card: CARD,
        vm,
        boot: 1,
    }
}

fn of(guest: &GuestIdentity) -> Guest {
    Guest {
        vm: guest.vm,
        boot: guest.boot,
    }
}

#[test]
fn an_older_verdict_does_not_take_the_place_of_a_later_one() {
    let streams = Streams::new(None);
    let place = streams.place(CARD);
    let [first, second, third] = [1, 2, 3].map(Uuid::from_u128);
    let (one, other) = (guest(1), guest(2));
    streams.appraised(&one, second, Status::Contraindicated);
    streams.appraised(&one, first, Status::Affirming);
    let told = BTreeMap::from([(of(&one), Trust::Contraindicated)]);
    assert_eq!(place.line.take_news(), told);
    // Nor once the later one was told; and each guest is on its own.
    streams.appraised(&one, first, Status::Affirming);
    streams.appraised(&other, first, Status::Affirming);
    let told = BTreeMap::from([(of(&other), Trust::Affirming)]);
    assert_eq!(place.line.take_news(), told);
    streams.appraised(&one, third, Status::Affirming);
    let told = BTreeMap::from([(of(&one), Trust::Affirming)]);
    assert_eq!(place.line.take_news(), told);
}

/// Known attack: guests without end, each remembered.
#[test]
fn verdicts_of_long_ago_are_forgotten() {
    let streams = Streams::new(None);
    let place = streams.place(CARD);
    let newest = MOST_LAST as u128 + 2;
    for number in 1..=newest {
        streams.appraised(&guest(number), Uuid::from_u128(number), Status::Affirming);
        place.line.take_news();
    }
    let verdicts = place.line.verdicts();
    assert_eq!(verdicts.last.len(), MOST_LAST);
    assert!(!verdicts.last.contains_key(&of(&guest(2))));
    assert!(verdicts.last.contains_key(&of(&guest(3))));
}
