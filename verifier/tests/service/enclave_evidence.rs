//! What enclaves state, over TLS to the real binary: verified when it comes, kept, and shown.

use std::num::NonZeroU64;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::certificates::Usage;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::evidence::{self, Event, Statement, What};
use bartizan_channel::https::Connection;
use bartizan_stream::Bytes;
use bartizan_stream::client::Connected;
use bartizan_stream::message::{Down, Evidence, Hello, Span, Up};
use bartizan_verifier::clock::now_s;
use serde_json::{Value, json};

use crate::connections::{Stack, start};
use crate::enclave::{NEW, enclave_client, next, open};
use crate::fleet::Wish;
use crate::host::Host;
use crate::process::{connect, exchange, operator_client};

/// An enclave's key for evidence.
struct Signer<'h> {
    host: &'h Host,
    key: EphemeralKey,
    usage: Usage,
}

impl<'h> Signer<'h> {
    fn of(host: &'h Host) -> Self {
        Self {
            host,
            key: EphemeralKey::generate().unwrap(),
            usage: Usage::Evidence,
        }
    }

    /// A piece of this number, which follows another.
    fn piece(&self, sequence: u64, previous: Option<&Bytes>) -> Bytes {
        let uri = format!("urn:bartizan:enclave:{}", self.host.card);
        let wish = Wish::new(self.usage, uri);
        let leaf = self.host.authority.issue(&wish, &self.key.public_key());
        let chain = vec![leaf.into(), self.host.authority.der.clone().into()];
        let set = NonZeroU64::new(sequence);
        let evidence = evidence::Evidence {
            issued_at: now_s(),
            card: self.host.card,
            statement: Statement {
                source: NEW.source.0,
                sequence: number(sequence),
                previous: previous.map(|piece| Sha384::of(piece)),
                events: vec![Event {
                    at: 5,
                    what: What::Started { set },
                }],
                dropped: 3,
            },
        };
        evidence.sign(&chain, &self.key).unwrap().into()
    }
}

fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

/// Hands a piece in; returns once it is durable.
async fn hand_in(enclave: &mut Connected, sequence: u64, piece: &Bytes) {
    let piece = Evidence::new(number(sequence), piece.clone()).unwrap();
    enclave.up.send(Up::Evidence(piece)).await.unwrap();
    assert_eq!(next(enclave).await.unwrap(), Down::EvidenceKept(sequence));
}

async fn shown(ann: &mut Connection, host: &Host, query: &str) -> Value {
    let path = format!("/v1/hosts/{}/evidence{query}", host.card);
    let (status, answer) = exchange(ann, "GET", &path, Value::Null).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The numbers of the pieces that are shown, and why they are refused.
fn pieces(shown: &Value) -> Vec<(u64, Option<&str>)> {
    let pieces = shown["evidence"].as_array().unwrap().iter();
    pieces
        .map(|piece| {
            (
                piece["sequence"].as_u64().unwrap(),
                piece["refused"].as_str(),
            )
        })
        .collect()
}

#[tokio::test]
async fn what_an_enclave_states_is_verified_and_shown_the_newest_first() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let (host, other) = (Host::enrolled(&vault.fleet), Host::enrolled(&vault.fleet));
    let connector = enclave_client(&vault.fleet, &host);
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    let signer = Signer::of(&host);
    let first = signer.piece(1, None);
    let second = signer.piece(2, Some(&first));
    hand_in(&mut enclave, 1, &first).await;
    hand_in(&mut enclave, 2, &second).await;
    drop(enclave);
    // Another stream, another key: the chain goes on from what is kept.
    let next_signer = Signer::of(&host);
    let third = next_signer.piece(3, Some(&second));
    let span = Span::new(number(2), number(4)).unwrap();
    let hello = Hello { span, ..NEW };
    let mut enclave = open(&connector, verifier.address, hello).await.unwrap();
    assert_eq!(enclave.kept, 2);
    hand_in(&mut enclave, 3, &third).await;

    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let all = shown(&mut ann, &host, "").await;
    assert_eq!(pieces(&all), [(3, None), (2, None), (1, None)]);
    let newest = &all["evidence"][0];
    assert_eq!(
        newest["events"],
        json!([{ "at": 5, "event": "started", "set": 3 }])
    );
    assert_eq!(
        (&newest["dropped"], &all["next"]),
        (&json!(3), &Value::Null)
    );
    // By pages.
    let page = shown(&mut ann, &host, "?limit=2").await;
    assert_eq!(pieces(&page), [(3, None), (2, None)]);
    let after = page["next"].as_str().unwrap();
    let rest = shown(&mut ann, &host, &format!("?limit=2&after={after}")).await;
    assert_eq!(pieces(&rest), [(1, None)]);
    assert_eq!(pieces(&shown(&mut ann, &other, "").await), []);
}

#[tokio::test]
async fn what_is_not_believed_is_kept_and_says_why() {
    let Stack {
        verifier,
        vault,
        _directory,
    } = start("");
    let (host, other) = (Host::enrolled(&vault.fleet), Host::enrolled(&vault.fleet));
    let connector = enclave_client(&vault.fleet, &host);
    let mut enclave = open(&connector, verifier.address, NEW).await.unwrap();
    let signer = Signer::of(&host);
    let by_tls = Signer {
        usage: Usage::EnclaveTls,
        ..Signer::of(&host)
    };
    let first = signer.piece(1, None);
    let no_evidence = Bytes::from_static(b"junk");
    let after_it = signer.piece(3, Some(&no_evidence));
    let handed_in = [
        first.clone(),
        no_evidence,
        after_it.clone(),
        signer.piece(4, Some(&first)),
        signer.piece(4, Some(&after_it)),
        Signer::of(&other).piece(6, None),
        by_tls.piece(7, None),
    ];
    for (sequence, piece) in (1..).zip(&handed_in) {
        hand_in(&mut enclave, sequence, piece).await;
    }
    let mut ann = connect(&operator_client(&vault.fleet), verifier.address).await;
    let all = shown(&mut ann, &host, "").await;
    let words = [
        "chain",
        "of card",
        "another place",
        "does not follow",
        "",
        "COSE_Sign1",
        "",
    ];
    for ((sequence, refused), word) in pieces(&all).into_iter().zip(words) {
        assert_eq!(
            refused.is_none(),
            word.is_empty(),
            "{sequence}: {refused:?}"
        );
        assert!(
            refused.unwrap_or_default().contains(word),
            "{sequence}: {refused:?}"
        );
    }
    // Nothing of what is not believed is shown as what happened.
    let refused = &all["evidence"][0];
    assert_eq!(
        (&refused["events"], &refused["issued_at"]),
        (&json!([]), &Value::Null)
    );
}
