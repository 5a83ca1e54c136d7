use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use tokio::time::{Duration, timeout};

use super::{Admission, Place};
use crate::payer::Payer;

fn stranger(number: u8) -> Payer {
    Payer::network(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)))
}

async fn is_displaced(place: &Place) -> bool {
    timeout(Duration::ZERO, place.displaced()).await.is_ok()
}

#[test]
fn both_bounds_hold_and_places_come_back() {
    let admission = Admission::new(3, 2);
    let first = admission.admit(stranger(1)).unwrap();
    let _second = admission.admit(stranger(1)).unwrap();
    assert!(admission.admit(stranger(1)).is_none());
    let third = admission.admit(stranger(2)).unwrap();
    drop(first);
    drop(third);
    let _again = admission.admit(stranger(1)).unwrap();
    assert!(admission.admit(stranger(1)).is_none());
    assert_eq!(admission.shared.lock().taken, 2);
}

#[tokio::test]
async fn who_has_most_makes_room_with_the_oldest() {
    let admission = Admission::new(4, 3);
    let mut greedy = Vec::new();
    for _ in 0..3 {
        greedy.push(admission.admit(stranger(1)).unwrap());
    }
    let modest = admission.admit(stranger(2)).unwrap();
    let newcomer = admission.admit(stranger(3)).unwrap();
    assert!(is_displaced(&greedy[0]).await);
    assert!(!is_displaced(&greedy[1]).await && !is_displaced(&modest).await);
    drop(greedy);
    assert_eq!(admission.shared.lock().taken, 2);
    drop((modest, newcomer));
    assert!(admission.shared.lock().of.is_empty());
}

#[tokio::test]
async fn a_flood_from_many_addresses_displaces_itself() {
    let admission = Admission::new(4, 3);
    let mut flood = Vec::new();
    for number in 0..100 {
        flood.push(admission.admit(stranger(number)).unwrap());
    }
    let host = admission.admit(stranger(200)).unwrap();
    // Three more came before the host was done.
    for number in 101..104 {
        flood.push(admission.admit(stranger(number)).unwrap());
    }
    assert!(!is_displaced(&host).await);
    // Where all have as many, no one has a second.
    assert!(admission.admit(stranger(200)).is_none());
}

proptest! {
    #[test]
    fn the_books_are_right_whoever_comes_and_goes(
        steps in prop::collection::vec((0u8..5, any::<bool>(), any::<prop::sample::Index>()), 1..200),
    ) {
        let admission = Admission::new(6, 3);
        let mut places: Vec<Place> = Vec::new();
        for (payer, leave, which) in steps {
            if leave {
                if !places.is_empty() {
                    places.swap_remove(which.index(places.len()));
                }
            } else {
                let fresh = !admission.shared.lock().of.contains_key(&stranger(payer));
                let place = admission.admit(stranger(payer));
                prop_assert!(!fresh || place.is_some(), "a newcomer is always let in");
                places.extend(place);
            }
            let books = admission.shared.lock();
            prop_assert!(books.taken <= 6);
            prop_assert_eq!(books.of.values().map(std::collections::BTreeMap::len).sum::<usize>(), books.taken);
            prop_assert!(books.of.values().all(|places| (1..=3).contains(&places.len())));
        }
        places.clear();
        prop_assert_eq!(admission.shared.lock().taken, 0);
    }
}
