//! What is signed by an author binds, and nothing else does.

#![expect(clippy::unwrap_used, reason = "what is made for a test is right")]

mod key;
mod policies;
mod sets;

use bartizan_policy::{
    Action, Author, AuthorKey, Authors, Format, Scope, ScopedGuests, sign_policy,
};

use key::TestKey;

const POLICY: &str = r"
version: 1
name: team-a/web
serial: 7
select: {roles: [web], labels: {env: production, zone: one}}
defaults: {network: deny}
rules:
  - {name: clients, effect: allow, priority: 5, network: {direction: ingress, ports: [443]}}
";

/// An author who may write `POLICY`.
fn author(name: &str, key: &TestKey) -> Author {
    Author {
        name: name.into(),
        key: AuthorKey::new(key.public_key()).unwrap(),
        scope: Scope {
            policies: vec!["other".parse().unwrap(), "team-a/*".parse().unwrap()],
            kinds: vec![bartizan_policy::Kind::Network],
            guests: ScopedGuests {
                roles: vec!["web".into(), "db".into()],
                labels: [("env".into(), "production".into())].into(),
            },
            highest_priority: 5,
            most_severe: Action::Isolate,
        },
    }
}

fn authors(key: &TestKey) -> Authors {
    let other = TestKey::generate();
    Authors::new(vec![author("other", &other), author("team", key)]).unwrap()
}

fn signed(text: &str, key: &TestKey) -> Vec<u8> {
    sign_policy(text, Format::Yaml, &key.public_key(), key).unwrap()
}
