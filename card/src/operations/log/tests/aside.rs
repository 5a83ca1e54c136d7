//! Logs that are put aside, and whoever is interrupted while they are.

use bartizan_attestation::operation::log::SetAside;

use super::*;

fn put(folder: &Folder, now_s: u64) -> PathBuf {
    match set_aside(folder.0.path(), now_s, Clock::Compared).unwrap() {
        Aside::Put(path) => path,
        other => panic!("{other:?}"),
    }
}

/// What the log begins after, and when it begins.
fn opened(folder: &Folder) -> (SetAside, u64) {
    let record = Record::parse(folder.lines()[0].as_bytes()).unwrap();
    match record.event {
        Event::Opened { after: Some(after) } => (after, record.at_s),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_is_put_aside_is_named_by_the_next() {
    let folder = Folder::new();
    let nothing = set_aside(folder.0.path(), NOW, Clock::Compared);
    assert!(matches!(nothing, Err(LogFileError::None(_))));
    folder.filled();
    folder.write(&folder.lines()[..5]);
    let before = fs::read(folder.path("operations.log")).unwrap();
    let aside = put(&folder, NOW + 5);
    assert_eq!(fs::read(&aside).unwrap(), before);
    let log = folder.open();
    let events = events(&log);
    let [Event::Opened { after: Some(after) }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(after.head.as_ref().unwrap().count, 6);
    let file = after.file.as_ref().unwrap();
    assert_eq!(aside.file_name().unwrap().to_str().unwrap(), file.name);
    drop(log);
    // Its file may be gone, and its head unreadable.
    fs::remove_file(folder.path("operations.log")).unwrap();
    fs::write(folder.path("operations.head"), "{").unwrap();
    let gone = set_aside(folder.0.path(), NOW + 5, Clock::Compared).unwrap();
    assert_eq!(gone, Aside::Gone);
    assert_eq!(folder.lines().len(), 1);
    folder.open().read(0, 1).unwrap();
}

#[test]
fn nobody_but_the_cards_user_puts_a_log_aside() {
    // Root may be whoever runs the tests: then the folder is somebody else's.
    let folder = Folder::new();
    folder.filled();
    let other = |uid| std::os::unix::fs::chown(folder.0.path(), Some(uid), None);
    if other(12_345).is_err() {
        return;
    }
    let refused = set_aside(folder.0.path(), NOW, Clock::Compared);
    assert!(
        matches!(refused, Err(LogFileError::OtherUser { owner: 12_345, .. })),
        "{refused:?}"
    );
    assert_eq!(folder.lines().len(), 6);
}

#[test]
fn a_log_that_a_card_has_is_put_aside_when_that_starts_next() {
    let folder = Folder::new();
    folder.filled();
    let running = folder.open();
    let wanted = set_aside(folder.0.path(), NOW, Clock::Compared).unwrap();
    assert_eq!(wanted, Aside::AtNextStart);
    running.refuse(None, &OperationRefusal::Replayed, 9, NOW);
    drop(running);
    drop(folder.open());
    assert_eq!(opened(&folder).0.head.unwrap().count, 7);
    // Once.
    drop(folder.open());
    assert_eq!(folder.lines().len(), 1);
    // Also where it was done by hand meanwhile.
    let running = folder.open();
    set_aside(folder.0.path(), NOW, Clock::Compared).unwrap();
    drop(running);
    let by_hand = put(&folder, NOW);
    drop(folder.open());
    let name = by_hand.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(opened(&folder).0.file.unwrap().name, name);
}

/// Otherwise no order would be done before the time that was wrong.
#[test]
fn a_log_from_while_the_clock_was_ahead_takes_a_word_on_the_clock() {
    for running in [false, true] {
        let folder = Folder::new();
        folder.filled();
        let earlier = NOW - 100_000;
        let refused = set_aside(folder.0.path(), earlier, Clock::Compared);
        assert!(
            matches!(refused, Err(LogFileError::ClockBehind { newest_s: NOW, now_s }) if now_s == earlier),
            "{refused:?}"
        );
        assert_eq!(folder.lines().len(), 6);
        let card = running.then(|| folder.open());
        set_aside(folder.0.path(), earlier, Clock::Right).unwrap();
        drop(card);
        drop(Log::open(folder.0.path(), earlier).unwrap());
        assert_eq!(opened(&folder).1, earlier);
    }
}

/// A try that came to its end but for its last step is not taken up when the next log is gone.
#[test]
fn what_was_begun_is_not_resumed_after_more_was_written() {
    let folder = Folder::new();
    folder.filled();
    put(&folder, NOW + 5);
    let first = folder.lines()[0].clone();
    fs::write(folder.path("operations.next"), &first).unwrap();
    let log = folder.open();
    log.refuse(None, &OperationRefusal::Replayed, 9, NOW + 70);
    drop(log);
    fs::remove_file(folder.path("operations.log")).unwrap();
    set_aside(folder.0.path(), NOW + 90, Clock::Compared).unwrap();
    let (after, at_s) = opened(&folder);
    assert_eq!((after.head.unwrap().count, at_s), (2, NOW + 90));
}

/// The latest name is the latest log's, also where the clock was set back.
#[test]
fn names_count_up() {
    let folder = Folder::new();
    folder.filled();
    let first = put(&folder, NOW + 5);
    let second = put(&folder, NOW - 5);
    let files = Files::of(folder.0.path()).aside().unwrap();
    let named = [first, second].map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    assert_eq!(files, named);
}

/// A clock that is set back makes no order new that was done.
#[test]
fn the_next_log_begins_no_earlier_than_the_former_ended() {
    let folder = Folder::new();
    folder.filled();
    put(&folder, NOW - 500);
    assert_eq!(opened(&folder).1, NOW);
    // Up to where it is broken it is believed.
    let folder = Folder::new();
    folder.filled();
    let mut lines = folder.lines();
    lines[3] = "?".into();
    folder.write(&lines);
    put(&folder, NOW - 500);
    assert_eq!(opened(&folder).1, NOW);
}

/// Killed after each of its writes, and tried again.
#[test]
fn whoever_is_interrupted_loses_no_log() {
    let files = ["operations.log", "operations.head", "operations.next"];
    // What is there before and after, and which of it has been done by then.
    type Undo = fn(&Folder, &[Option<Vec<u8>>; 3], &PathBuf);
    fn back(folder: &Folder, name: &str, before: &Option<Vec<u8>>) {
        match before {
            Some(bytes) => fs::write(folder.path(name), bytes).unwrap(),
            None => fs::remove_file(folder.path(name)).unwrap(),
        }
    }
    fn begun(folder: &Folder) {
        fs::copy(
            folder.path("operations.log"),
            folder.path("operations.next"),
        )
        .unwrap();
        let next = fs::read_to_string(folder.path("operations.next")).unwrap();
        fs::write(folder.path("operations.next"), next.trim_end()).unwrap();
    }
    let before_the_move: Undo = |folder, before, aside| {
        begun(folder);
        fs::remove_file(aside).unwrap();
        back(folder, "operations.log", &before[0]);
        back(folder, "operations.head", &before[1]);
    };
    let after_the_move: Undo = |folder, before, _| {
        begun(folder);
        fs::remove_file(folder.path("operations.log")).unwrap();
        back(folder, "operations.head", &before[1]);
    };
    let after_the_head: Undo = |folder, _, _| {
        begun(folder);
        fs::remove_file(folder.path("operations.log")).unwrap();
    };
    let after_the_log: Undo = |folder, _, _| begun(folder);
    for (undo, is_believed) in [
        (before_the_move, true),
        (after_the_move, false),
        (after_the_head, false),
        (after_the_log, true),
    ] {
        let folder = Folder::new();
        folder.filled();
        let before = files.map(|name| fs::read(folder.path(name)).ok());
        let aside = put(&folder, NOW + 5);
        undo(&folder, &before, &aside);
        // A card that starts in between.
        let log = folder.open();
        assert_eq!(matches!(&*log.state(), State::Kept(_)), is_believed);
        drop(log);
        let _again = set_aside(folder.0.path(), NOW + 6, Clock::Compared).unwrap();
        folder.open().read(0, 1).unwrap();
        // From the present log each former one is named, down to the first.
        let mut named = Vec::new();
        let mut log = folder.path("operations.log");
        while let Ok(text) = fs::read_to_string(&log) {
            let first = Record::parse(text.lines().next().unwrap().as_bytes()).unwrap();
            let Event::Opened { after: Some(after) } = first.event else {
                break;
            };
            let name = after.file.unwrap().name;
            log = folder.path(&name);
            named.push(name);
        }
        let bytes = fs::read(folder.path(named.last().unwrap())).unwrap();
        assert_eq!(Some(bytes), before[0], "{named:?}");
    }
}

#[test]
fn a_log_that_names_nothing_is_not_begun_beside_one_that_was_put_aside() {
    let folder = Folder::new();
    folder.filled();
    let aside = put(&folder, NOW + 5);
    let name = aside.file_name().unwrap().to_str().unwrap().to_owned();
    for gone in ["operations.log", "operations.head"] {
        fs::remove_file(folder.path(gone)).unwrap();
    }
    assert_eq!(broken(&folder.open()), LogError::Unnamed(name.clone()));
    assert_eq!(
        set_aside(folder.0.path(), NOW, Clock::Compared).unwrap(),
        Aside::Gone
    );
    assert_eq!(opened(&folder).0.file.unwrap().name, name);
    folder.open().read(0, 1).unwrap();
}
