//! Messages (RFC 1035 section 4), as far as is needed to tell which addresses a name has.
//!
//! A query is one about addresses, with one question. An answer is looked at as a whole, to its last byte: one that no server sends,
//! that is cut short, or whose addresses are more than can be told, says nothing here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_local::flow::MAX_NAMED;

use super::name::Name;

/// A header in bytes.
pub(super) const HEADER: usize = 12;
/// Of the second word of a header: it is an answer; what kind of question; cut short; what went wrong.
const ANSWER: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RCODE: u16 = 0x000f;
/// Types of records, and the class of the Internet (RFC 1035 section 3.2, RFC 3596).
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const IN: u16 = 1;
/// Most names that are one another's, from the one that was asked about on.
const MOST_CNAMES: usize = 16;

/// What a guest asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    id: u16,
    /// The question's bytes.
    question: Box<[u8]>,
    name: Name,
    text: String,
    kind: u16,
}

/// What a server says to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The name that was asked about, in lower case.
    pub name: String,
    /// Its addresses, each once; none where it has none of the kind that was asked about.
    pub addresses: Vec<IpAddr>,
    /// The least of how long each record holds that leads to them, in seconds.
    pub ttl_s: u32,
}

/// A message is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum DnsError {
    /// It ends before what it says is in it.
    #[error("the message ends inside a record")]
    Truncated,
    /// It goes on behind what it says is in it.
    #[error("bytes follow the last record")]
    Trailing,
    /// A label of a kind that there is not.
    #[error("a label is of no kind that there is")]
    Label,
    /// A pointer that does not lead back.
    #[error("a name points to where it does not end")]
    Pointer,
    /// A name longer than names are.
    #[error("a name is too long")]
    NameTooLong,
    /// The one is an answer, or of another kind, or has not one question, and the other is none.
    #[error("the message is no plain question, or no answer to one")]
    Kind,
    /// It is about no addresses, or a name that no policy could name.
    #[error("the question is about no host's addresses")]
    Question,
    /// The answer is another question's.
    #[error("the answer is to another question")]
    OtherQuestion,
    /// The server has not the whole answer, or none.
    #[error("the server could not answer, or not all of it")]
    Failed,
    /// An address of another size.
    #[error("an address is of another size than its type has")]
    Address,
    /// A name is other names at once, or its own, or there are too many between it and its addresses.
    #[error("the names between a name and its addresses are no chain")]
    Chain,
    /// More addresses than can be told.
    #[error("a name has more than {MAX_NAMED} addresses")]
    TooMany,
}

impl Query {
    /// What a guest sends to a server.
    pub fn parse(message: &[u8]) -> Result<Self, DnsError> {
        let header = Header::parse(message)?;
        let [questions, answers, ..] = header.counts;
        if header.flags & (ANSWER | OPCODE) != 0 || (questions, answers) != (1, 0) {
            return Err(DnsError::Kind);
        }
        let (name, at) = Name::read(message, HEADER)?;
        // There is nothing before it that it could point at.
        if at - HEADER != name.size() {
            return Err(DnsError::Pointer);
        }
        let end = at + 4;
        let question = message.get(HEADER..end).ok_or(DnsError::Truncated)?;
        let (kind, class) = (u16_at(message, at)?, u16_at(message, at + 2)?);
        let text = name.text().ok_or(DnsError::Question)?;
        if !matches!(kind, A | AAAA) || class != IN {
            return Err(DnsError::Question);
        }
        Ok(Self {
            id: header.id,
            question: question.into(),
            name,
            text,
            kind,
        })
    }

    /// Whether a message is an answer to this one, whatever it says: of this id, with this question alone, to the case of each letter.
    pub(super) fn is_answered_by(&self, message: &[u8]) -> bool {
        let Ok(header) = Header::parse(message) else {
            return false;
        };
        let [questions, ..] = header.counts;
        header.id == self.id
            && header.flags & (ANSWER | OPCODE) == ANSWER
            && questions == 1
            && message.get(HEADER..HEADER + self.question.len()) == Some(&*self.question)
    }
}

impl Answer {
    /// What a server sends to whoever asked that.
    pub fn parse(message: &[u8], query: &Query) -> Result<Self, DnsError> {
        if !query.is_answered_by(message) {
            return Err(DnsError::OtherQuestion);
        }
        let header = Header::parse(message)?;
        if header.flags & (TRUNCATED | RCODE) != 0 {
            return Err(DnsError::Failed);
        }
        let [_, answers, authorities, additional] = header.counts;
        let mut at = HEADER + query.question.len();
        let mut records = Vec::new();
        for _ in 0..answers {
            let (record, next) = Record::read(message, at)?;
            // Another class has nothing to say on the Internet's names.
            if record.class == IN {
                records.push(record);
            }
            at = next;
        }
        // What is said beside the answer is nobody's answer. Known attack: addresses of a name that was not asked about.
        for _ in 0..usize::from(authorities) + usize::from(additional) {
            at = Record::read(message, at)?.1;
        }
        if at != message.len() {
            return Err(DnsError::Trailing);
        }
        Self::of(&records, query)
    }

    fn of(records: &[Record<'_>], query: &Query) -> Result<Self, DnsError> {
        let (name, mut ttl_s) = last_name(records, query)?;
        let mut addresses = Vec::new();
        let those = |one: &&Record<'_>| one.kind == query.kind && one.name == name;
        for record in records.iter().filter(those) {
            let address = record.address()?;
            ttl_s = ttl_s.min(record.ttl_s);
            if addresses.contains(&address) {
                continue;
            }
            if addresses.len() >= MAX_NAMED {
                return Err(DnsError::TooMany);
            }
            addresses.push(address);
        }
        Ok(Self {
            name: query.text.clone(),
            addresses,
            ttl_s,
        })
    }
}

/// The name that the one which was asked about is another name for, and how long that holds.
fn last_name(records: &[Record<'_>], query: &Query) -> Result<(Name, u32), DnsError> {
    let (mut name, mut ttl_s) = (query.name.clone(), u32::MAX);
    for _ in 0..=MOST_CNAMES {
        let mut others = records
            .iter()
            .filter(|one| one.kind == CNAME && one.name == name);
        let Some(other) = others.next() else {
            return Ok((name, ttl_s));
        };
        if others.next().is_some() {
            return Err(DnsError::Chain);
        }
        ttl_s = ttl_s.min(other.ttl_s);
        name = other.other_name()?;
    }
    Err(DnsError::Chain)
}

struct Header {
    id: u16,
    flags: u16,
    /// Of questions, and of records of each section.
    counts: [u16; 4],
}

impl Header {
    fn parse(message: &[u8]) -> Result<Self, DnsError> {
        let at = |word: usize| u16_at(message, 2 * word);
        Ok(Self {
            id: at(0)?,
            flags: at(1)?,
            counts: [at(2)?, at(3)?, at(4)?, at(5)?],
        })
    }
}

/// A record, with the message that the names in it may point into.
struct Record<'m> {
    name: Name,
    kind: u16,
    class: u16,
    ttl_s: u32,
    message: &'m [u8],
    /// Where its data begins and ends.
    data: (usize, usize),
}

impl<'m> Record<'m> {
    /// The one at `at`, and where what follows it begins.
    fn read(message: &'m [u8], at: usize) -> Result<(Self, usize), DnsError> {
        let (name, at) = Name::read(message, at)?;
        let (kind, class) = (u16_at(message, at)?, u16_at(message, at + 2)?);
        let (high, low) = (u16_at(message, at + 4)?, u16_at(message, at + 6)?);
        let ttl_s = u32::from(high) << 16 | u32::from(low);
        let data = at + 10;
        let end = data + usize::from(u16_at(message, at + 8)?);
        if end > message.len() {
            return Err(DnsError::Truncated);
        }
        let record = Self {
            name,
            kind,
            class,
            // What would be negative is nothing (RFC 2181 section 8).
            ttl_s: if ttl_s >> 31 == 0 { ttl_s } else { 0 },
            message,
            data: (data, end),
        };
        Ok((record, end))
    }

    fn address(&self) -> Result<IpAddr, DnsError> {
        let data = self.message.get(self.data.0..self.data.1);
        let data = data.ok_or(DnsError::Truncated)?;
        let v4 = || <[u8; 4]>::try_from(data).map(|bytes| Ipv4Addr::from(bytes).into());
        let v6 = || <[u8; 16]>::try_from(data).map(|bytes| Ipv6Addr::from(bytes).into());
        let address = if self.kind == A { v4() } else { v6() };
        address.map_err(|_| DnsError::Address)
    }

    /// Of a CNAME.
    fn other_name(&self) -> Result<Name, DnsError> {
        let (name, end) = Name::read(self.message, self.data.0)?;
        if end == self.data.1 {
            Ok(name)
        } else {
            Err(DnsError::Truncated)
        }
    }
}

fn u16_at(message: &[u8], at: usize) -> Result<u16, DnsError> {
    let bytes = message.get(at..).and_then(<[u8]>::first_chunk);
    bytes
        .copied()
        .map(u16::from_be_bytes)
        .ok_or(DnsError::Truncated)
}

#[cfg(test)]
mod tests;
