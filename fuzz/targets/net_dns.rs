//! What guests ask DNS servers, and what these answer: the first byte says how long the query is, behind which the answer comes.
#![no_main]

use std::collections::HashSet;
use std::net::IpAddr;

use bartizan_devices::net::dns::{Answer, Query};
use bartizan_local::flow::MAX_NAMED;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((size, messages)) = data.split_first() else {
        return;
    };
    let Some((query, answer)) = messages.split_at_checked(usize::from(*size)) else {
        return;
    };
    let Ok(asked) = Query::parse(query) else {
        return;
    };
    let Ok(said) = Answer::parse(answer, &asked) else {
        return;
    };
    // The query's id, and its question to the letter.
    assert_eq!(answer.get(..2), query.get(..2));
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    assert!((1..=253).contains(&said.name.len()) && said.name.bytes().all(is_plain));
    let each: HashSet<_> = said.addresses.iter().collect();
    assert!(each.len() == said.addresses.len() && each.len() <= MAX_NAMED);
    // Nothing is told that is not in the message.
    let is_there = |bytes: &[u8]| answer.windows(bytes.len()).any(|part| part == bytes);
    for address in &said.addresses {
        assert!(match address {
            IpAddr::V4(address) => is_there(&address.octets()),
            IpAddr::V6(address) => is_there(&address.octets()),
        });
    }
    // Whatever is cut off, it is none.
    let cut = answer.split_last().map_or(answer, |(_, rest)| rest);
    assert!(Answer::parse(cut, &asked).is_err());
});
