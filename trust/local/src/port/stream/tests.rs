use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex};

use super::*;

/// Both ends of a port that holds so many bytes.
fn ends(holds: usize) -> (Port<DuplexStream>, Port<DuplexStream>) {
    let (inside, outside) = duplex(holds);
    (Port::opening(inside), Port::answering(outside))
}

async fn read(connection: &mut Connection<DuplexStream>) -> Vec<u8> {
    let mut all = Vec::new();
    connection.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn much_goes_both_ways_over_a_port_that_holds_little() {
    let (mut inside, mut outside) = ends(100);
    let sent: Vec<u8> = (0..200_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 3])
        .collect();
    let expected = sent.clone();
    let answering = tokio::spawn(async move {
        let mut connection = outside.accept().await.unwrap();
        let (mut near, far) = duplex(1000);
        let echo = tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(far);
            tokio::io::copy(&mut from, &mut to).await.unwrap()
        });
        copy_bidirectional(&mut connection, &mut near).await.ok();
        drop(near);
        echo.await.unwrap();
    });
    let connection = inside.open().await.unwrap();
    let (mut from, mut to) = tokio::io::split(connection);
    let writing = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.flush().await.unwrap();
        to
    });
    let mut found = vec![0; expected.len()];
    from.read_exact(&mut found).await.unwrap();
    assert!(found == expected);
    let mut connection = from.unsplit(writing.await.unwrap());
    connection.shutdown().await.unwrap();
    answering.await.unwrap();
}

#[tokio::test]
async fn nothing_of_one_connection_is_taken_for_the_next_ones() {
    let (mut inside, mut outside) = ends(1 << 16);
    let first = inside.open().await.unwrap();
    let mut late = outside.accept().await.unwrap();
    drop(first);
    let mut second = inside.open().await.unwrap();
    // The end outside has not heard of it yet.
    late.write_all(b"late").await.unwrap();
    assert_eq!(read(&mut late).await, b"");
    let refused = late.write_all(b"later").await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    let mut present = outside.accept().await.unwrap();
    present.write_all(b"in time").await.unwrap();
    drop(present);
    outside.flush().await.unwrap();
    assert_eq!(read(&mut second).await, b"in time");
}

#[tokio::test]
async fn one_that_is_opened_anew_ends_for_whoever_waits_for_it() {
    let (mut inside, mut outside) = ends(1 << 16);
    let mut first = inside.open().await.unwrap();
    let waiting = tokio::spawn(async move { read(&mut first).await });
    tokio::task::yield_now().await;
    let second = inside.open().await.unwrap();
    assert_eq!(waiting.await.unwrap(), b"");
    // The first is taken, and is at its end.
    let mut taken = outside.accept().await.unwrap();
    assert_eq!(read(&mut taken).await, b"");
    let mut taken = outside.accept().await.unwrap();
    taken.write_all(b"!").await.unwrap();
    drop(taken);
    outside.flush().await.unwrap();
    let mut second = second;
    assert_eq!(read(&mut second).await, b"!");
}

#[tokio::test]
async fn one_that_is_dropped_is_at_its_end_for_the_other_side() {
    let (mut inside, mut outside) = ends(1 << 16);
    for _ in 0..3 {
        let mut connection = inside.open().await.unwrap();
        drop(outside.accept().await.unwrap());
        outside.flush().await.unwrap();
        assert_eq!(read(&mut connection).await, b"");
        let mut other = inside.open().await.unwrap();
        other.write_all(b"words").await.unwrap();
        drop(other);
        inside.flush().await.unwrap();
        let mut taken = outside.accept().await.unwrap();
        assert_eq!(read(&mut taken).await, b"words");
    }
}

#[tokio::test]
async fn a_peer_that_speaks_otherwise_or_is_gone_ends_the_port() {
    for wrong in [
        &[9, 0, 0, 0, 0, 0, 0][..],
        &[2, 0, 0, 0, 1, 0, 0],
        &Head::Open(1).to_bytes(),
        b"",
    ] {
        let (near, mut far) = duplex(100);
        let mut inside = Port::opening(near);
        let mut connection = inside.open().await.unwrap();
        far.write_all(wrong).await.unwrap();
        drop(far);
        for _ in 0..2 {
            connection.read_u8().await.unwrap_err();
        }
    }
}

/// One that opens others without end, and reads nothing.
#[tokio::test]
async fn what_waits_to_be_written_is_bounded() {
    let (near, mut far) = duplex(HEAD * 4);
    let mut outside = Port::answering(near);
    let opening = tokio::spawn(async move {
        for id in 0..100_000 {
            if far.write_all(&Head::Open(id).to_bytes()).await.is_err() {
                break;
            }
        }
    });
    let accepting = async {
        loop {
            drop(outside.accept().await.unwrap());
            assert!(lock(&outside.0).out.len() <= UNSAID + HEAD);
        }
    };
    tokio::select! {
        () = accepting => unreachable!("it accepts for ever"),
        opened = opening => opened.unwrap(),
        () = async { for _ in 0..10_000 { tokio::task::yield_now().await } } => {}
    }
}
