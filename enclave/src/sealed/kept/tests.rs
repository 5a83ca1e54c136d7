use super::*;

const CARD: CardId = CardId([3; 32]);
const SOURCE: Source = Source([1; 16]);

fn stored(record: Option<StateRecord>, sealed: Option<Vec<u8>>) -> StoredState {
    StoredState {
        key: StateKey::new([7; 32]),
        record,
        sealed: sealed.map(Into::into),
    }
}

fn restored(record: Option<StateRecord>, sealed: Option<Vec<u8>>) -> Result<Kept, Loss> {
    Kept::restore(CARD, stored(record, sealed), Source([9; 16]))
}

fn recorded(due: &Due) -> Option<StateRecord> {
    Some(StateRecord {
        number: due.number,
        digest: Sha384::of(&due.sealed),
    })
}

fn begun() -> Kept {
    Kept::restore(CARD, stored(None, None), SOURCE).unwrap()
}

fn counted(kept: &Kept, isolated: u8) -> State {
    let mut state = kept.state().clone();
    state.isolated.insert([isolated; 16]);
    state
}

#[test]
fn states_are_numbered_one_after_another_and_go_on_after_a_restart() {
    let mut kept = begun();
    assert_eq!(kept.due(), None);
    let mut last = None;
    for number in 1..4_u8 {
        let next = counted(&kept, number);
        let number = u64::from(number);
        kept.begin(next.clone()).unwrap();
        let due = kept.due().unwrap();
        assert_eq!(due.number, number);
        // What is repeated is the same to the byte.
        assert_eq!(kept.due(), Some(due.clone()));
        assert_ne!(kept.state(), &next, "it is not kept yet");
        assert!(!kept.stored(number + 1) && kept.is_storing());
        assert!(kept.stored(number) && !kept.is_storing());
        assert!(!kept.stored(number));
        assert_eq!(kept.state(), &next);
        last = Some(due);
    }
    let last = last.unwrap();
    let mut again = restored(recorded(&last), Some(last.sealed)).unwrap();
    assert_eq!(again.state(), kept.state());
    assert_eq!(again.state().source, SOURCE, "it goes on with its numbers");
    again.begin(counted(&again, 9)).unwrap();
    assert_eq!(again.due().unwrap().number, 4);
}

#[test]
fn a_state_that_is_recorded_and_not_there_is_lost() {
    let mut kept = begun();
    let mut states = Vec::new();
    for number in 1..3 {
        kept.begin(counted(&kept, number)).unwrap();
        states.push(kept.due().unwrap());
        kept.stored(number.into());
    }
    let [first, second] = [&states[0], &states[1]];
    let gone = restored(recorded(second), None);
    assert!(matches!(gone, Err(Loss::Gone(2))));
    // Known attack: the state of before, which is as well sealed as this one.
    let older = restored(recorded(second), Some(first.sealed.clone()));
    assert!(matches!(older, Err(Loss::Another(2))));
    // What is recorded is believed no more than the seal.
    let claimed = recorded(first).map(|record| StateRecord {
        number: 2,
        ..record
    });
    let older = restored(claimed, Some(first.sealed.clone()));
    assert!(matches!(older, Err(Loss::Unread { number: 2, .. })));
    let without_record = restored(None, Some(first.sealed.clone())).unwrap();
    assert_eq!(without_record.state(), &State::new(Source([9; 16])));
}

#[test]
fn the_last_number_is_the_last() {
    let sealed = seal(&StateKey::new([7; 32]), CARD, u64::MAX, &State::new(SOURCE));
    let due = Due {
        number: u64::MAX,
        sealed: sealed.unwrap(),
    };
    let mut kept = restored(recorded(&due), Some(due.sealed)).unwrap();
    let refused = kept.begin(State::new(SOURCE));
    assert_eq!(refused, Err(SealError::Exhausted));
}
