//! Messages as guests and servers send them, for tests.

use std::net::IpAddr;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;
/// Where the question's name is.
pub(crate) const ASKED: [u8; 2] = [0xc0, 12];
/// Recursion is desired; an answer, recursive.
const QUERY: u16 = 0x0100;
pub(crate) const ANSWER: u16 = 0x8180;

/// A name, pointing nowhere.
pub(crate) fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

pub(crate) fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let words = [id, flags].into_iter().chain(counts);
    words.flat_map(u16::to_be_bytes).collect()
}

pub(crate) fn question(text: &str, kind: u16) -> Vec<u8> {
    [name(text).as_slice(), &kind.to_be_bytes(), &[0, 1]].concat()
}

/// With EDNS, as resolvers have it (RFC 6891 section 6.1.2).
pub(crate) fn query(id: u16, text: &str, kind: u16) -> Vec<u8> {
    let edns = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    [
        header(id, QUERY, [1, 0, 0, 1]),
        question(text, kind),
        edns.to_vec(),
    ]
    .concat()
}

pub(crate) fn record(owner: &[u8], kind: u16, ttl_s: u32, data: &[u8]) -> Vec<u8> {
    let size = u16::try_from(data.len()).unwrap();
    [
        owner,
        &kind.to_be_bytes(),
        &[0, 1],
        &ttl_s.to_be_bytes(),
        &size.to_be_bytes(),
        data,
    ]
    .concat()
}

/// An address of whoever has that name.
pub(crate) fn at(owner: &[u8], ttl_s: u32, address: &str) -> Vec<u8> {
    match address.parse().unwrap() {
        IpAddr::V4(address) => record(owner, A, ttl_s, &address.octets()),
        IpAddr::V6(address) => record(owner, AAAA, ttl_s, &address.octets()),
    }
}

/// One name is another.
pub(crate) fn is(owner: &str, ttl_s: u32, other: &str) -> Vec<u8> {
    record(&name(owner), CNAME, ttl_s, &name(other))
}

/// All records in its first section.
pub(crate) fn answer(id: u16, text: &str, kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).unwrap();
    [
        header(id, ANSWER, [1, count, 0, 0]),
        question(text, kind),
        records.concat(),
    ]
    .concat()
}
