use proptest::prelude::*;

use super::*;

fn events() -> Vec<Event> {
    let refused = Outcome::refused("no such VM");
    vec![
        Event::Opened { after: None },
        Event::Begun {
            operator: "ann".into(),
            role: crate::certificates::Role::Runner,
            operation: "stop-guest".into(),
            arguments: [("vm".to_owned(), "web".to_owned())].into(),
            order_sha256: "ab".repeat(32),
            nonce: "cd".repeat(16),
            expires_at: 99,
        },
        Event::Ended {
            begun: 1,
            outcome: refused,
        },
        Event::MoreRefused {
            operator: None,
            count: 3,
        },
        Event::Ended {
            begun: 1,
            outcome: Outcome::Done,
        },
    ]
}

/// A log, and where it ends.
fn log() -> (Vec<Vec<u8>>, Head) {
    let (mut head, mut lines) = (Head::empty(), Vec::new());
    for event in events() {
        let record = Record {
            index: head.count,
            at_s: 5,
            previous: head.sha384.clone(),
            event,
        };
        let line = record.line().unwrap();
        assert_eq!(Record::parse(&line), Some(record));
        head = head.after(&line);
        lines.push(line);
    }
    (lines, head)
}

fn follow(lines: &[Vec<u8>]) -> Result<Head, LogError> {
    let mut head = Head::empty();
    for line in lines {
        head.follow(line)?;
    }
    Ok(head)
}

#[test]
fn a_log_is_followed_to_its_head() {
    let (lines, head) = log();
    assert_eq!(follow(&lines), Ok(head));
}

#[test]
fn an_edited_record_is_named() {
    let (lines, head) = log();
    for index in 0..lines.len() {
        let text = String::from_utf8(lines[index].clone()).unwrap();
        let mut edited = lines.clone();
        edited[index] = text.replace("\"at_s\":5", "\"at_s\":6").into_bytes();
        match follow(&edited) {
            // Only the head tells.
            Ok(end) => assert!(index == lines.len() - 1 && end != head),
            Err(error) => assert_eq!(error, LogError::Changed(index as u64)),
        }
    }
}

#[test]
fn records_that_are_cut_out_or_swapped_are_named() {
    let (lines, _) = log();
    for index in 0..lines.len() - 1 {
        let mut cut = lines.clone();
        cut.remove(index);
        let (expected, found) = (index as u64, index as u64 + 1);
        assert_eq!(follow(&cut), Err(LogError::Misplaced { expected, found }));
        let mut swapped = lines.clone();
        swapped.swap(index, index + 1);
        assert_eq!(
            follow(&swapped),
            Err(LogError::Misplaced { expected, found })
        );
    }
}

#[test]
fn a_record_has_one_spelling() {
    let (lines, _) = log();
    let text = String::from_utf8(lines[1].clone()).unwrap();
    for other in [
        text.replace("\"index\":1", "\"index\": 1"),
        text.replace("\"index\":1", "\"index\":1,\"more\":1"),
        text.replace("ann", "\\u0061nn"),
        format!("{text} "),
        text.replace("ann", &"a".repeat(MAX_RECORD)),
    ] {
        assert_eq!(Record::parse(other.as_bytes()), None, "{other}");
    }
}

proptest! {
    #[test]
    fn every_flipped_byte_is_noticed(line in 0_usize..5, at: prop::sample::Index, bit in 0_u8..8) {
        let (mut lines, head) = log();
        let at = at.index(lines[line].len());
        lines[line][at] ^= 1 << bit;
        prop_assert!(follow(&lines).is_err() || follow(&lines) != Ok(head));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(Record::parse(&bytes).is_none());
    }
}
