//! Decisions: a policy (YAML), a zero, and bytes that make requests of the policy's own words. The index decides as the plain evaluator does.
#![no_main]

use std::collections::BTreeMap;
use std::net::IpAddr;

use bartizan_policy::{
    Access, Compiled, Direction, Flow, FlowWidth, Format, Guest, Operation, PeerGuest, Policy,
    Process, Request, Trust, plain, read,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (Some(text), Some(bytes)) = (parts.next(), parts.next()) else {
        return;
    };
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    let Ok(policy) = read(text, Format::Yaml) else {
        return;
    };
    let words = words(&policy);
    let mut bytes = Bytes(bytes, &words);
    let policies = [policy];
    let guest = bytes.guest();
    let Ok(compiled) = Compiled::of(&policies, &guest) else {
        return;
    };
    while !bytes.0.is_empty() {
        decide(&policies, &compiled, &guest, &mut bytes);
    }
});

fn decide(policies: &[Policy], compiled: &Compiled, guest: &Guest, bytes: &mut Bytes<'_>) {
    let digests = [[0; 32], [0xff; 32]];
    let digest = |byte: u8| digests.get(usize::from(byte));
    let peer = bytes.labels();
    let names: Vec<_> = (0..bytes.byte() % 10).map(|_| bytes.word()).collect();
    let operation = match bytes.byte() % 4 {
        0 => Operation::Exec {
            path: bytes.word(),
            sha256: digest(bytes.byte() % 3),
        },
        1 => Operation::File {
            path: bytes.word(),
            access: [Access::Read, Access::Write, Access::Create][usize::from(bytes.byte() % 3)],
        },
        2 => Operation::Network(Flow {
            direction: [Direction::Ingress, Direction::Egress][usize::from(bytes.byte() % 2)],
            protocol: bytes.byte(),
            address: bytes.address(),
            port: bytes
                .flag()
                .then(|| u16::from_be_bytes([bytes.byte(), bytes.byte()])),
            icmp_type: bytes.flag().then(|| bytes.byte()),
            guest: match bytes.byte() % 3 {
                0 => None,
                1 => Some(None),
                _ => Some(Some(PeerGuest {
                    role: bytes.word(),
                    labels: &peer,
                })),
            },
            names: &names,
        }),
        _ => Operation::Syscall {
            number: u32::from(bytes.byte()) + u32::from(bytes.byte()),
            arguments: std::array::from_fn(|_| u64::from(bytes.byte()) << (bytes.byte() % 57)),
        },
    };
    let process = Process {
        executable: bytes.flag().then(|| bytes.word()),
        sha256: digest(bytes.byte() % 3),
        uid: bytes.flag().then(|| bytes.byte().into()),
    };
    let request = Request { process, operation };
    let (decision, depended) = compiled.decide_widely(&request);
    assert_eq!(
        decision,
        plain::decide(policies, guest, &request),
        "{request:?}"
    );
    assert_eq!(decision, compiled.decide(&request));
    assert!(
        depended
            .iter()
            .all(|field| field.is_same(&request, &request))
    );
    if let (Some(width), Operation::Network(flow)) =
        (FlowWidth::of(&request, &depended), &request.operation)
    {
        assert!(width.contains(flow), "{width:?} {flow:?}");
    }
}

/// All texts of a policy.
fn words(policy: &Policy) -> Vec<String> {
    let mut due = vec![serde_json::to_value(policy).expect("a policy can be written")];
    let mut words = vec!["/".to_owned(), "/a/b".to_owned()];
    while let Some(value) = due.pop() {
        match value {
            Value::String(word) => {
                words.push(word.replace("/**", "/below"));
                words.push(word.replace("*.", "below."));
            }
            Value::Array(list) => due.extend(list),
            Value::Object(map) => {
                words.extend(map.keys().cloned());
                due.extend(map.into_values());
            }
            _ => {}
        }
    }
    words
}

/// What is left of the bytes, and the words.
struct Bytes<'a>(&'a [u8], &'a [String]);

impl<'a> Bytes<'a> {
    /// The next; zero once there is none.
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 0
    }

    fn word(&mut self) -> &'a str {
        let at = usize::from(self.byte()) % self.1.len();
        &self.1[at]
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        let count = self.byte() % 3;
        let label = |bytes: &mut Self| (bytes.word().to_owned(), bytes.word().to_owned());
        (0..count).map(|_| label(self)).collect()
    }

    /// One that begins or ends a network of the policy, or another.
    fn address(&mut self) -> IpAddr {
        let word = self.word();
        let network = word
            .split('/')
            .next()
            .and_then(|address| address.parse().ok());
        network.unwrap_or_else(|| [10, self.byte(), 0, self.byte()].into())
    }

    fn guest(&mut self) -> Guest {
        Guest {
            vm: "6f1b2f5e-0000-4000-8000-000000000000"
                .parse()
                .expect("a UUID"),
            role: self.word().to_owned(),
            labels: self.labels(),
            trust: [Trust::None, Trust::Affirming, Trust::Contraindicated]
                [usize::from(self.byte() % 3)],
        }
    }
}
