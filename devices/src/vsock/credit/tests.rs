use proptest::prelude::{any, proptest};

use super::*;

#[test]
fn a_guest_that_ignores_its_credit_is_caught() {
    let mut credit = Credit::new(0);
    credit.receive(BUFFER as usize).unwrap();
    assert_eq!(
        credit.receive(1),
        Err(CreditError::Exceeded { sent: 1, credit: 0 })
    );
    credit.forward(1);
    credit.receive(1).unwrap();
}

#[test]
fn claims_to_have_read_the_future_are_caught() {
    let mut credit = Credit::new(100);
    credit.send(10);
    assert_eq!(credit.learn(100, 11), Err(CreditError::Impossible));
    credit.learn(100, 10).unwrap();
    assert_eq!(credit.available(), 100);
}

#[test]
fn overtaken_news_do_not_take_credit_back() {
    let mut credit = Credit::new(100);
    credit.send(100);
    credit.learn(100, 60).unwrap();
    credit.learn(100, 20).unwrap();
    assert_eq!(credit.available(), 60);
}

#[test]
fn an_update_is_due_at_half_the_buffer() {
    let mut credit = Credit::new(0);
    credit.receive(BUFFER as usize / 2).unwrap();
    assert!(!credit.is_update_due());
    credit.forward(BUFFER / 2);
    assert!(credit.is_update_due());
    credit.tell();
    assert!(!credit.is_update_due());
}

proptest! {
    /// Two honest sides, seen over long wrapping counters: never more than a buffer under way, never stuck.
    #[test]
    fn honest_sides_never_stall_or_overflow(start in any::<u32>(), steps in proptest::collection::vec((1..70_000_u32, any::<bool>()), 1..200)) {
        let mut credit = Credit {
            received: start, forwarded: start, told: start, ..Credit::new(0)
        };
        let (mut sent, mut known) = (start, start);
        for (size, drain) in steps {
            let room = BUFFER - sent.wrapping_sub(known);
            let size = size.min(room);
            credit.receive(size as usize).unwrap();
            sent = sent.wrapping_add(size);
            if drain {
                credit.forward(credit.received.wrapping_sub(credit.forwarded));
                if credit.is_update_due() {
                    known = credit.tell().1;
                }
                assert!(BUFFER - sent.wrapping_sub(known) > 0);
            }
        }
    }

    #[test]
    fn any_claim_leaves_a_bounded_credit(alloc in any::<u32>(), sent in any::<u32>(), news in proptest::collection::vec(any::<(u32, u32)>(), 0..20)) {
        let mut credit = Credit { sent, peer_forwarded: sent, ..Credit::new(alloc) };
        for (buf_alloc, fwd_cnt) in news {
            if credit.learn(buf_alloc, fwd_cnt).is_ok() {
                assert!(credit.available() <= buf_alloc as usize);
            }
        }
    }
}
