//! One who writes policies.

use bartizan_attestation::csr::EphemeralKey;
use bartizan_policy::{
    Action, Author, AuthorKey, Authors, Format, Kind, Scope, ScopedGuests, sign_policy,
};
use bartizan_verifier::binary::Binary;
use serde_json::{Value, json};

/// An author, who may write `net/*` for networks.
pub(crate) struct TestAuthor {
    key: EphemeralKey,
}

impl TestAuthor {
    pub(crate) fn new() -> Self {
        let key = EphemeralKey::generate().unwrap();
        Self { key }
    }

    /// The verifier's configuration that names this one.
    pub(crate) fn configuration(&self) -> String {
        let author = Author {
            name: "network-team".into(),
            key: AuthorKey::new(self.key.public_key()).unwrap(),
            scope: Scope {
                policies: vec!["net/*".parse().unwrap()],
                kinds: vec![Kind::Network],
                guests: ScopedGuests {
                    roles: vec!["web".into()],
                    labels: [].into(),
                },
                highest_priority: 100,
                most_severe: Action::Log,
            },
        };
        let authors = Authors::new(vec![author]).unwrap();
        // JSON is YAML.
        format!(
            "policy_authors: {}",
            serde_json::to_string(&authors).unwrap()
        )
    }

    /// A policy, signed.
    pub(crate) fn sign(&self, name: &str, serial: u64) -> Vec<u8> {
        self.sign_text(&policy(name, serial, ""))
    }

    pub(crate) fn sign_text(&self, text: &str) -> Vec<u8> {
        sign_policy(text, Format::Yaml, &self.key.public_key(), &self.key).unwrap()
    }
}

/// A policy's text; `comment` makes another text of it.
pub(crate) fn policy(name: &str, serial: u64, comment: &str) -> String {
    format!(
        "version: 1\nname: {name}\nserial: {serial}\nselect: {{roles: [web]}}\ndefaults: {{network: deny}}\n# {comment}\n"
    )
}

/// The body of a `PUT /v1/policies`.
pub(crate) fn applied(signed: &[u8]) -> Value {
    json!({"policy": Binary::encode(signed)})
}
