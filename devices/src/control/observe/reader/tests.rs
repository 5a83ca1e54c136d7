use bartizan_local::flow::Direction;
use bartizan_local::observation::MAX_SNAP;
use bartizan_local::{encode, read_frame};
use proptest::prelude::*;

use super::*;

fn packet(size: usize) -> CapturedPacket {
    CapturedPacket {
        at_ns: u64::MAX,
        way: Direction::Ingress,
        length: u32::MAX,
        bytes: vec![0xff; size],
    }
}

/// All that was said until it was over: packets, why, and the tally.
fn read(link: &UnixStream) -> (Vec<CapturedPacket>, ObservationEnd, Tally) {
    link.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut packets = Vec::new();
    loop {
        match read_frame(&mut &*link, MAX_FRAME).unwrap() {
            Observed::Going(_) => {}
            Observed::Packets(more) => packets.extend(more),
            Observed::Ended { why, tally } => return (packets, why, tally),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    /// Whatever was captured: nothing is lost between two frames, and none is too long.
    #[test]
    fn packets_are_told_in_frames_that_fit(sizes in prop::collection::vec(
        prop_oneof![0..200_usize, 60_000..=MAX_SNAP as usize], 0..40
    )) {
        let pieces = CapturedPacket::pieces(sizes.iter().map(|size| packet(*size)).collect());
        let mut told = Vec::new();
        for piece in pieces {
            told.extend(piece.iter().map(|packet| packet.bytes.len()));
            prop_assert!(encode(&CapturedPacket::observed(piece)).len() <= MAX_FRAME);
        }
        prop_assert_eq!(told, sizes);
    }
}

/// Known attack: whoever captures does not read, so that it lasts beyond its time, or what is lost by that is not known.
#[test]
fn time_ends_it_though_nobody_reads_and_all_is_told_or_counted() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let end = Instant::now() + Duration::from_secs(1);
    let feed = Feed::new(u64::MAX, u64::MAX, end);
    feed.begin();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut reader = Reader::new(&ours, end);
            let why = reader.follow(&feed, || true).unwrap();
            let tally = reader.tally;
            reader.say(&Observed::Ended { why, tally }).unwrap();
        });
        let mut put = 0;
        while feed.is_open() {
            feed.put(1000, || packet(1000));
            put += 1;
        }
        let (packets, why, tally) = read(&theirs);
        assert_eq!(why, ObservationEnd::Time);
        assert_eq!(tally.told, packets.len() as u64);
        assert_eq!(tally.bytes, 1000 * tally.told);
        let all = tally.told + tally.dropped;
        // Its time may have been over just before the last one.
        assert!(all == put || all + 1 == put, "{all} of {put}");
        assert!(tally.dropped > 0);
    });
}

#[test]
fn what_waits_when_its_guest_is_gone_is_told_yet() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let end = Instant::now() + Duration::from_secs(600);
    let feed = Feed::new(u64::MAX, u64::MAX, end);
    feed.begin();
    let mut reader = Reader::new(&ours, end);
    reader.going = Instant::now();
    // Put in between the last look and its end.
    let is_there = || {
        (0..3).for_each(|_| feed.put(10, || packet(10)));
        false
    };
    let why = reader.follow(&feed, is_there).unwrap();
    let tally = reader.tally;
    reader.say(&Observed::Ended { why, tally }).unwrap();
    let (packets, why, tally) = read(&theirs);
    assert_eq!((packets.len(), why), (3, ObservationEnd::Gone));
    assert_eq!((tally.told, tally.dropped), (3, 0));
}

/// Known attack: whoever reads takes so little at a time that it never ends.
#[test]
fn what_there_is_no_time_for_is_counted_and_in_the_end_nothing_is_written() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut late = Reader::new(&ours, Instant::now().checked_sub(STALL).unwrap());
    late.tell(vec![packet(1), packet(1)]).unwrap();
    let (why, tally) = (ObservationEnd::Time, late.tally);
    assert_eq!((tally.told, tally.bytes, tally.dropped), (0, 0, 2));
    late.say(&Observed::Ended { why, tally }).unwrap();
    assert_eq!(read(&theirs), (Vec::new(), why, tally));
    let mut over = Reader::new(&ours, Instant::now().checked_sub(2 * STALL).unwrap());
    assert!(over.say(&Observed::Going(tally)).is_err());
}

#[test]
fn who_has_left_is_noticed_though_there_is_nothing_to_tell() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut reader = Reader::new(&ours, Instant::now());
    reader.going = Instant::now();
    drop(theirs);
    reader.tell(Vec::<FlowRecord>::new()).unwrap();
    assert!(reader.go_on().is_err());
}
