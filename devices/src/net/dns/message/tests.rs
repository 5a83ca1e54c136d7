use proptest::prelude::*;

use super::*;
use crate::net::dns::sample::{ASKED, answer, at, header, is, name, query, question, record};

const ANSWERED: u16 = crate::net::dns::sample::ANSWER;

fn asked(text: &str) -> Query {
    Query::parse(&query(7, text, A)).unwrap()
}

/// What a server says to who asks for the IPv4 addresses of `db.test`.
fn says(records: &[Vec<u8>]) -> Result<Answer, DnsError> {
    Answer::parse(&answer(7, "db.test", A, records), &asked("db.test"))
}

fn found(addresses: &[&str], ttl_s: u32) -> Answer {
    let addresses = addresses.iter().map(|one| one.parse().unwrap());
    Answer {
        name: "db.test".into(),
        addresses: addresses.collect(),
        ttl_s,
    }
}

#[test]
fn an_answer_has_the_addresses_of_the_name_that_was_asked_about() {
    let whole = says(&[at(&ASKED, 300, "10.0.0.7"), at(&ASKED, 60, "10.0.0.8")]);
    assert_eq!(whole, Ok(found(&["10.0.0.7", "10.0.0.8"], 60)));
    let none = says(&[]);
    assert!(none.unwrap().addresses.is_empty());
    let v6 = query(7, "db.test", AAAA);
    let v6 = Query::parse(&v6).unwrap();
    let message = answer(7, "db.test", AAAA, &[at(&ASKED, 9, "fd00::7")]);
    assert_eq!(Answer::parse(&message, &v6), Ok(found(&["fd00::7"], 9)));
}

/// Known attack: the answer to one question has addresses for other names, too.
#[test]
fn addresses_of_other_names_are_nobodys() {
    let others = [
        at(&name("bank.test"), 300, "10.6.6.6"),
        at(&name("db.test.test"), 300, "10.6.6.6"),
        at(&name("test"), 300, "10.6.6.6"),
        at(&ASKED, 300, "fd66::6"),
        at(&ASKED, 300, "10.0.0.7"),
    ];
    assert_eq!(says(&others), Ok(found(&["10.0.0.7"], 300)));
    // In the sections beside the answer.
    for counts in [[1, 1, 1, 0], [1, 1, 0, 1]] {
        let message = [
            header(7, ANSWERED, counts),
            question("db.test", A),
            at(&ASKED, 300, "10.0.0.7"),
            at(&ASKED, 300, "10.6.6.6"),
        ];
        let said = Answer::parse(&message.concat(), &asked("db.test"));
        assert_eq!(said, Ok(found(&["10.0.0.7"], 300)));
    }
    // Of another class (CHAOS).
    let mut chaos = at(&ASKED, 300, "10.6.6.6");
    chaos[5] = 3;
    assert!(says(&[chaos]).unwrap().addresses.is_empty());
}

#[test]
fn a_chain_of_names_is_followed_from_the_one_that_was_asked_about() {
    let chain = [
        is("cdn.test", 30, "edge.test"),
        is("db.test", 300, "CDN.test"),
        at(&name("Edge.Test"), 60, "10.0.0.7"),
        at(&ASKED, 300, "10.6.6.6"),
    ];
    // The name that has another has no address of its own.
    assert_eq!(says(&chain), Ok(found(&["10.0.0.7"], 30)));
    let broken = [
        is("db.test", 300, "cdn.test"),
        at(&name("edge.test"), 60, "10.6.6.6"),
    ];
    assert!(says(&broken).unwrap().addresses.is_empty());
}

#[test]
fn chains_that_are_none_are_not_followed() {
    let own = [is("db.test", 300, "db.test"), at(&ASKED, 60, "10.6.6.6")];
    assert_eq!(says(&own), Err(DnsError::Chain));
    let circle = [is("db.test", 1, "a.test"), is("a.test", 1, "db.test")];
    assert_eq!(says(&circle), Err(DnsError::Chain));
    let fork = [is("db.test", 1, "a.test"), is("db.test", 1, "b.test")];
    assert_eq!(says(&fork), Err(DnsError::Chain));
    let chain = |length: usize| {
        let step = |number: usize| match number {
            0 => "db.test".to_owned(),
            _ => format!("a{number}.test"),
        };
        let mut records: Vec<_> = (0..length)
            .map(|number| is(&step(number), 60, &step(number + 1)))
            .collect();
        records.push(at(&name(&step(length)), 60, "10.0.0.7"));
        says(&records)
    };
    assert_eq!(chain(MOST_CNAMES), Ok(found(&["10.0.0.7"], 60)));
    assert_eq!(chain(MOST_CNAMES + 1), Err(DnsError::Chain));
}

#[test]
fn as_many_addresses_as_can_be_told_and_no_more() {
    let of = |count: u8| {
        let all = 0..count;
        let all: Vec<_> = all
            .map(|n| at(&ASKED, 60, &format!("10.0.0.{n}")))
            .collect();
        says(&all)
    };
    assert_eq!(of(64).unwrap().addresses.len(), MAX_NAMED);
    assert_eq!(of(65), Err(DnsError::TooMany));
    // Once more is no more.
    let same: Vec<_> = (0..200).map(|_| at(&ASKED, 60, "10.0.0.7")).collect();
    assert_eq!(says(&same), Ok(found(&["10.0.0.7"], 60)));
}

#[test]
fn a_time_to_live_that_would_be_negative_is_none() {
    let huge = |ttl_s| says(&[at(&ASKED, ttl_s, "10.0.0.7")]).unwrap().ttl_s;
    assert_eq!(huge(0x7fff_ffff), 0x7fff_ffff);
    assert_eq!(huge(0x8000_0000), 0);
    assert_eq!(huge(u32::MAX), 0);
}

/// Known attack: what is no whole answer to this very question is taken for one.
#[test]
fn what_does_not_match_its_query_is_no_answer() {
    let query = asked("db.test");
    let records = [at(&ASKED, 60, "10.6.6.6")];
    let matches = |message: &[u8]| query.is_answered_by(message);
    assert!(matches(&answer(7, "db.test", A, &records)));
    for other in [
        // Another id, name, type; other letters (0x20); a longer name, a shorter one.
        answer(8, "db.test", A, &records),
        answer(7, "dc.test", A, &records),
        answer(7, "db.test", AAAA, &records),
        answer(7, "dB.test", A, &records),
        answer(7, "db.test.test", A, &records),
        answer(7, "test", A, &records),
        // A query, another kind of answer, none or several questions.
        crate::net::dns::sample::query(7, "db.test", A),
        [
            header(7, 0xa180, [1, 1, 0, 0]),
            question("db.test", A),
            records.concat(),
        ]
        .concat(),
        [header(7, ANSWERED, [0, 1, 0, 0]), records.concat()].concat(),
        [
            header(7, ANSWERED, [2, 1, 0, 0]),
            question("db.test", A),
            question("db.test", A),
            records.concat(),
        ]
        .concat(),
        Vec::new(),
    ] {
        assert!(!matches(&other), "{other:02x?}");
        assert_eq!(Answer::parse(&other, &query), Err(DnsError::OtherQuestion));
    }
}

#[test]
fn what_a_server_could_not_answer_wholly_is_no_answer() {
    let query = asked("db.test");
    // Cut short; malformed, failed, no such name, refused.
    for flags in [0x8380, 0x8181, 0x8182, 0x8183, 0x8185] {
        let message = [
            header(7, flags, [1, 1, 0, 0]),
            question("db.test", A),
            at(&ASKED, 60, "10.6.6.6"),
        ]
        .concat();
        assert!(query.is_answered_by(&message));
        assert_eq!(Answer::parse(&message, &query), Err(DnsError::Failed));
    }
}

#[test]
fn messages_that_are_cut_short_or_go_on_are_no_answers() {
    let query = asked("db.test");
    let records = [
        is("db.test", 300, "cdn.test"),
        at(&name("cdn.test"), 60, "10.0.0.7"),
    ];
    let whole = answer(7, "db.test", A, &records);
    assert!(Answer::parse(&whole, &query).is_ok());
    for size in 0..whole.len() {
        assert!(Answer::parse(&whole[..size], &query).is_err(), "{size}");
    }
    let trailing = [whole.as_slice(), &[0]].concat();
    assert_eq!(Answer::parse(&trailing, &query), Err(DnsError::Trailing));
    // More records than there are, by far.
    let many = [
        header(7, ANSWERED, [1, 0xffff, 0xffff, 0xffff]),
        whole[HEADER..].to_vec(),
    ]
    .concat();
    assert_eq!(Answer::parse(&many, &query), Err(DnsError::Truncated));
}

#[test]
fn records_that_are_not_what_their_types_say() {
    for size in [0, 3, 5, 16] {
        let torn = record(&ASKED, A, 60, &vec![0; size]);
        assert_eq!(says(&[torn]), Err(DnsError::Address), "{size}");
    }
    // A name that ends before its record does, or behind it.
    let short = record(&ASKED, CNAME, 60, &[name("a.test"), vec![0]].concat());
    assert_eq!(says(&[short]), Err(DnsError::Truncated));
    let long = record(&ASKED, CNAME, 60, &[1, b'a', 4, b't']);
    let behind = at(&name("est"), 60, "10.6.6.6");
    assert!(says(&[long, behind]).is_err());
}

/// Known attack: names that point at themselves, at one another, or on.
/// Known attack: a chain of pointers, at whose end each of many records begins.
#[test]
fn a_name_has_as_many_pointers_as_it_may_have_labels() {
    let chain = |pointers: u16| {
        let target = 12_u16;
        let mut message = [header(7, ANSWERED, [0; 4]), vec![0]].concat();
        let mut to = target;
        for _ in 0..pointers {
            let here = u16::try_from(message.len()).unwrap();
            message.extend((0xc000 | to).to_be_bytes());
            to = here;
        }
        let at = usize::from(to);
        Name::read(&message, at).map(drop)
    };
    assert_eq!(chain(127), Ok(()));
    assert_eq!(chain(128), Err(DnsError::Pointer));
    assert_eq!(chain(8000), Err(DnsError::Pointer));
}

#[test]
fn pointers_lead_back_or_nowhere() {
    // The first record begins here.
    let here = u8::try_from(HEADER + question("db.test", A).len()).unwrap();
    let with = |owner: &[u8]| says(&[at(owner, 60, "10.0.0.7")]);
    assert!(with(&[0xc0, here]).is_err());
    assert_eq!(with(&[0xc0, here]), Err(DnsError::Pointer));
    assert_eq!(with(&[0xc0, here + 1]), Err(DnsError::Pointer));
    assert_eq!(with(&[0xff, 0xff]), Err(DnsError::Pointer));
    // A label, then back to it.
    assert_eq!(with(&[1, b'a', 0xc0, here]), Err(DnsError::Pointer));
    // Into the header.
    assert_eq!(with(&[0xc0, 0]), Err(DnsError::Pointer));
    assert_eq!(with(&[0xc0, 11]), Err(DnsError::Pointer));
    // Kinds of labels that there are not (RFC 6891 section 5).
    assert_eq!(with(&[0x40, 0]), Err(DnsError::Label));
    assert_eq!(with(&[0x80, 0]), Err(DnsError::Label));
    // A part of the question's name, with its own before it.
    let parts = [
        is("db.test", 60, "a.test"),
        at(&[1, b'a', 0xc0, 15], 60, "10.0.0.7"),
    ];
    assert_eq!(says(&parts), Ok(found(&["10.0.0.7"], 60)));
    // A question that points is none.
    let pointing = [
        header(7, 0x0100, [1, 0, 0, 0]),
        vec![1, b'a', 0xc0, 12, 0, 1, 0, 1],
    ];
    assert_eq!(Query::parse(&pointing.concat()), Err(DnsError::Pointer));
}

#[test]
fn names_are_no_longer_than_names() {
    let label = "a".repeat(63);
    // 255 bytes with the sizes and the end; one more.
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(name(&longest).len(), 255);
    assert!(Query::parse(&query(7, &longest, A)).is_ok());
    let longer = format!("{longest}a");
    let refused = Query::parse(&query(7, &longer, A));
    assert_eq!(refused, Err(DnsError::NameTooLong));
    // By pointers: each record's name goes on with the one before.
    let mut records = vec![at(
        &[&[63], label.as_bytes(), &ASKED].concat(),
        60,
        "10.0.0.7",
    )];
    for _ in 0..4 {
        let before = HEADER + question("db.test", A).len() + records.concat().len()
            - records.last().map_or(0, Vec::len);
        let back = u16::try_from(before).unwrap() | 0xc000;
        let owner = [&[63], label.as_bytes(), &back.to_be_bytes()].concat();
        records.push(at(&owner, 60, "10.0.0.7"));
    }
    assert_eq!(says(&records), Err(DnsError::NameTooLong));
}

#[test]
fn only_plain_questions_about_addresses_of_hosts_are_looked_at() {
    let refused = |message: &[u8]| Query::parse(message).unwrap_err();
    for kind in [0, 2, 5, 12, 15, 16, 33, 64, 65, 255] {
        assert_eq!(refused(&query(7, "db.test", kind)), DnsError::Question);
    }
    let mut chaos = query(7, "db.test", A);
    chaos[HEADER + name("db.test").len() + 3] = 3;
    assert_eq!(refused(&chaos), DnsError::Question);
    assert_eq!(refused(&query(7, "", A)), DnsError::Question);
    // An answer, an update, a notification; none or two questions; with an answer in it.
    for (flags, counts) in [
        (0x8100, [1, 0, 0, 0]),
        (0x2800, [1, 0, 0, 0]),
        (0x2000, [1, 0, 0, 0]),
        (0x0100, [0, 0, 0, 0]),
        (0x0100, [2, 0, 0, 0]),
        (0x0100, [1, 1, 0, 0]),
    ] {
        let message = [header(7, flags, counts), question("db.test", A)].concat();
        assert_eq!(refused(&message), DnsError::Kind, "{flags:04x} {counts:?}");
    }
}

/// Known attack: a label with a dot in it, of bytes that are no text, or in other letters, becomes a name that a policy names.
#[test]
fn labels_that_could_be_misread_are_no_hosts_names() {
    for label in [&b"db.test"[..], b"d b", b"db\0", b"\xc3\xbc", b"*", b"\xff"] {
        let size = u8::try_from(label.len()).unwrap();
        let odd = [&[size], label, &[4], b"test", &[0, 0, 1, 0, 1]].concat();
        let message = [header(7, 0x0100, [1, 0, 0, 0]), odd].concat();
        assert_eq!(Query::parse(&message), Err(DnsError::Question), "{label:?}");
    }
    // Such a name in a chain leads nowhere but to itself.
    let odd = [7, b'd', b'b', b'.', b't', b'e', b's', b't', 0];
    let chain = [
        record(&ASKED, CNAME, 60, &odd),
        at(&name("db.test"), 60, "10.6.6.6"),
    ];
    assert!(says(&chain).unwrap().addresses.is_empty());
    let upper = Query::parse(&query(7, "_Srv.DB-1.Test", A)).unwrap();
    assert_eq!(upper.text, "_srv.db-1.test");
}

prop_compose! {
    fn owner()(labels in prop::collection::vec("[a-c]{1,2}", 1..4), pointer in any::<Option<u8>>()) -> Vec<u8> {
        let mut bytes = name(&labels.join("."));
        if let Some(low) = pointer {
            bytes.pop();
            bytes.extend([0xc0, low % 80]);
        }
        bytes
    }
}

proptest! {
    #[test]
    fn whatever_bytes_come_are_read_to_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..600), as_answer in any::<bool>()) {
        let _ = Query::parse(&bytes);
        if as_answer {
            let head = answer(7, "db.test", A, &[]);
            let kept = bytes.split_off(bytes.len().min(8));
            bytes = [&head[..4], &[0, 1], &bytes, &head[12..], &kept].concat();
            let _ = Answer::parse(&bytes, &asked("db.test"));
        }
    }

    /// Known attack: what is told is not what the guest reads. Everything that is told is in the answer, of the name or of one that it is.
    #[test]
    fn only_what_a_chain_leads_to_is_told(
        records in prop::collection::vec((owner(), prop::sample::select(vec![A, CNAME, AAAA]), owner(), any::<[u8; 4]>(), any::<u32>()), 0..12)
    ) {
        let records: Vec<_> = records.into_iter().map(|(owner, kind, other, address, ttl_s)| match kind {
            CNAME => record(&owner, CNAME, ttl_s, &other),
            A => record(&owner, A, ttl_s, &address),
            _ => record(&owner, AAAA, ttl_s, &[address; 4].concat()),
        }).collect();
        let message = answer(7, "a", A, &records);
        if let Ok(answer) = Answer::parse(&message, &asked("a")) {
            prop_assert_eq!(answer.name, "a");
            prop_assert!(answer.addresses.len() <= MAX_NAMED);
            let bytes: Vec<_> = records.iter().map(|one| one[one.len() - 4..].to_vec()).collect();
            for address in answer.addresses {
                let IpAddr::V4(address) = address else { panic!("{address}") };
                prop_assert!(bytes.contains(&address.octets().to_vec()));
            }
        }
    }

    /// A query that is read is answered by itself turned round, and by nothing of another id.
    #[test]
    fn a_query_is_answered_by_its_own_question(id in any::<u16>(), other in any::<u16>(), text in "[a-zA-Z0-9]{1,9}(\\.[a-zA-Z0-9-]{1,9}){0,3}") {
        let query = Query::parse(&query(id, &text, AAAA)).unwrap();
        prop_assert_eq!(&query.text, &text.to_ascii_lowercase());
        prop_assert!(query.is_answered_by(&answer(id, &text, AAAA, &[])));
        prop_assert_eq!(query.is_answered_by(&answer(other, &text, AAAA, &[])), id == other);
    }
}
