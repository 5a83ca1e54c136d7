use tokio::io::duplex;
use tokio::time::Instant;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn an_end_that_takes_nothing_is_waited_for_so_long_and_no_longer() {
    let (mut speaker, mut near) = duplex(64);
    let (mut far, _silent) = duplex(64);
    let begun = Instant::now();
    let speaking = async {
        let _cut = speaker.write_all(&[7; 1 << 20]).await;
    };
    let moving = until_either_ends(&mut near, &mut far, PATIENCE);
    tokio::select! {
        () = moving => {}
        () = speaking => panic!("nobody took it"),
    }
    assert_eq!(begun.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_takes_little_or_says_little_is_served_on() {
    let (mut speaker, mut near) = duplex(64);
    let (mut far, mut slow) = duplex(64);
    let said: Vec<u8> = (0..1000_u32).map(|at| at.to_be_bytes()[3]).collect();
    let hearing = async {
        let (mut heard, mut piece) = (Vec::new(), [0; 64]);
        while heard.len() < said.len() {
            // Longer than the patience in the end, shorter each time.
            tokio::time::sleep(PATIENCE / 2).await;
            let size = slow.read(&mut piece).await.unwrap();
            heard.extend_from_slice(&piece[..size]);
        }
        // Nothing is said for longer than that: silence is no end.
        tokio::time::sleep(PATIENCE * 10).await;
        slow.write_all(b"!").await.unwrap();
        heard
    };
    let speaking = async {
        speaker.write_all(&said).await.unwrap();
        assert_eq!(speaker.read_u8().await.unwrap(), b'!');
    };
    let moving = until_either_ends(&mut near, &mut far, PATIENCE);
    let heard = tokio::select! {
        () = moving => panic!("neither end was done"),
        (heard, ()) = async { tokio::join!(hearing, speaking) } => heard,
    };
    assert_eq!(heard, said);
}

#[tokio::test]
async fn both_ways_end_with_either() {
    let (speaker, mut near) = duplex(64);
    let (mut far, mut hearer) = duplex(64);
    drop(speaker);
    until_either_ends(&mut near, &mut far, PATIENCE).await;
    drop(far);
    assert_eq!(hearer.read(&mut [0]).await.unwrap(), 0);
}
