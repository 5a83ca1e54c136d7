use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::channel::{Channel, Sender};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::{BodyError, BodyLimit, LEAST_CHARGE, Pace, arrival};

const PACE: Pace = Pace {
    grace: Duration::from_secs(5),
    bytes_per_s: 1000,
};

/// A body whose parts a test sends by hand.
fn by_hand() -> (Sender<Bytes, Infallible>, Body) {
    let (sender, body) = Channel::new(1);
    (sender, Body::new(body))
}

#[test]
fn a_small_body_is_charged_for_the_request() {
    let limit = BodyLimit {
        bytes: 1 << 20,
        expansion: 3,
    };
    assert_eq!(limit.charge(0), LEAST_CHARGE);
    assert_eq!(limit.charge(1 << 20), 3 << 20);
    assert_eq!(limit.charge(usize::MAX), usize::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stands_still_is_given_up() {
    let (mut sender, body) = by_hand();
    let begun = Instant::now();
    sender.send_data(vec![0; 2000].into()).await.unwrap();
    let refused = arrival(body, 10_000, PACE).await.unwrap_err();
    assert!(matches!(
        refused,
        BodyError::TooSlow {
            received: 2000,
            size: 10_000,
            ..
        }
    ));
    // The grace, and the two seconds that its bytes paid for.
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_given_up_and_a_slow_stream_is_not() {
    for (bytes_per_s, passes) in [(900, false), (1100, true)] {
        let (mut sender, body) = by_hand();
        let sending = tokio::spawn(async move {
            for _ in 0..100 {
                sleep(Duration::from_secs(1)).await;
                if sender.send_data(vec![7; bytes_per_s].into()).await.is_err() {
                    break;
                }
            }
        });
        let arrived = arrival(body, bytes_per_s * 100, PACE).await;
        assert_eq!(arrived.is_ok(), passes, "{bytes_per_s}: {arrived:?}");
        sending.await.unwrap();
    }
}

proptest! {
    #[test]
    fn a_body_is_exactly_what_was_announced(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        size in 0usize..200,
    ) {
        let whole = parts.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let arrived = runtime.block_on(async {
            let (mut sender, body) = by_hand();
            let sending = async move {
                for part in parts {
                    if sender.send_data(part.into()).await.is_err() {
                        break;
                    }
                }
            };
            tokio::join!(arrival(body, size, PACE), sending).0
        });
        match arrived {
            Ok(bytes) => {
                prop_assert_eq!(size, whole.len());
                prop_assert_eq!(&bytes[..], &whole[..]);
            }
            Err(BodyError::OtherLength { received, .. }) => {
                prop_assert_ne!(size, whole.len());
                prop_assert!(received <= whole.len() && received != size);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
