//! One policy.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_cose::{CoseError, Curve, MessageType, PublicKey, sign1, sign1_by_named_key};
use bartizan_policy::{
    Action, AuthorKey, Authors, Format, Kind, NoAuthors, OutsideScope, PolicyRefusal, read,
    sign_policy,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::key::TestKey;
use crate::{POLICY, author, authors, signed};

#[test]
fn what_an_author_signed_is_read_as_it_was_written() {
    let key = TestKey::generate();
    let authors = authors(&key);
    let policy = read(POLICY, Format::Yaml).unwrap();
    let json = serde_json::to_string(&policy).unwrap();
    for (text, format) in [(POLICY, Format::Yaml), (json.as_str(), Format::Json)] {
        let once = sign_policy(text, format, &key.public_key(), &key).unwrap();
        let again = sign_policy(text, format, &key.public_key(), &key).unwrap();
        let (one, other) = (
            authors.verify(&once).unwrap(),
            authors.verify(&again).unwrap(),
        );
        assert_eq!((one.policy(), one.author()), (&policy, "team"));
        // ECDSA signs differently each time.
        assert_ne!(once, again);
        assert_eq!(one.digest(), other.digest());
    }
    assert!(sign_policy("version: 1", Format::Yaml, &key.public_key(), &key).is_err());
}

#[test]
fn nobody_else_signs_for_an_author() {
    let (key, stranger) = (TestKey::generate(), TestKey::generate());
    let authors = authors(&key);
    let refusal = authors.verify(&signed(POLICY, &stranger)).unwrap_err();
    let sha256 = stranger.public_key().sha256();
    assert!(matches!(refusal, PolicyRefusal::UnknownAuthor(key) if key == sha256));
    // The author's name on a stranger's signature.
    let forged = sign_policy(POLICY, Format::Yaml, &key.public_key(), &stranger).unwrap();
    let refusal = authors.verify(&forged).unwrap_err();
    assert!(matches!(
        refusal,
        PolicyRefusal::Signature { author, source: CoseError::BadSignature(_) } if author == "team"
    ));
}

#[test]
fn what_is_signed_is_a_policy() {
    let key = TestKey::generate();
    let public = key.public_key();
    let authors = authors(&key);
    let refused = |payload: &[u8], kind| {
        let signed = sign1_by_named_key(kind, payload, &public, &key).unwrap();
        authors.verify(&signed).unwrap_err()
    };
    let refusal = refused(b"\xff", MessageType::PolicyYaml);
    assert!(matches!(refusal, PolicyRefusal::NotText(_)));
    let refusal = refused(b"version: 2", MessageType::PolicyYaml);
    assert!(matches!(refusal, PolicyRefusal::Unreadable { .. }));
    // YAML passed off as JSON.
    let refusal = refused(POLICY.as_bytes(), MessageType::PolicyJson);
    assert!(matches!(refusal, PolicyRefusal::Unreadable { .. }));
    let record = sign1(MessageType::LaunchRecord, POLICY.as_bytes(), &[], &key).unwrap();
    let refusal = authors.verify(&record).unwrap_err();
    assert!(matches!(refusal, PolicyRefusal::Malformed(_)));
}

#[test]
fn an_author_is_held_to_the_scope() {
    let key = TestKey::generate();
    let authors = authors(&key);
    let refused = |from: &str, to: &str| {
        let text = POLICY.replace(from, to);
        assert_ne!(text, POLICY);
        let refusal = authors.verify(&signed(&text, &key)).unwrap_err();
        let PolicyRefusal::OutsideScope { author, source, .. } = refusal else {
            panic!("{refusal}");
        };
        assert_eq!(author, "team");
        source
    };
    let accepted = |from: &str, to: &str| {
        authors
            .verify(&signed(&POLICY.replace(from, to), &key))
            .unwrap();
    };
    for name in ["team-b/web", "team-a", "team-ab/web", "others"] {
        assert_eq!(refused("team-a/web", name), OutsideScope::Name);
    }
    accepted("team-a/web", "team-a/web/more");
    accepted("team-a/web", "other");
    assert_eq!(
        refused("network: {direction: ingress, ports: [443]}", "exec: {}"),
        OutsideScope::Rule {
            rule: "clients".into(),
            kind: Kind::Exec
        }
    );
    let default = refused("{network: deny}", "{file: deny}");
    assert_eq!(default, OutsideScope::Default(Kind::File));
    assert_eq!(
        refused("priority: 5", "priority: 6"),
        OutsideScope::Priority {
            rule: "clients".into(),
            priority: 6,
            highest: 5
        }
    );
    for roles in [
        "roles: [web, other]",
        "roles: [other]",
        "vms: [6f1b2f5e-0000-4000-8000-000000000000]",
    ] {
        let refused = refused("roles: [web]", roles);
        assert!(matches!(refused, OutsideScope::Roles(_)), "{refused}");
    }
    accepted("roles: [web]", "roles: [db, web]");
    let more = |more: &str| format!("serial: 7\n{more}");
    accepted("serial: 7", &more("on_violation: isolate"));
    let severe = OutsideScope::Action(Action::Kill, Action::Isolate);
    for violation in [
        "on_violation: kill",
        "thresholds: [{name: t, count: flows, within_s: 1, most: 1, on_violation: kill}]",
    ] {
        assert_eq!(refused("serial: 7", &more(violation)), severe);
    }
    let denials = "thresholds: [{name: t, count: denials, kind: network, within_s: 1, most: 1}]";
    accepted("serial: 7", &more(denials));
    let files = format!("[{{path: /a, sha256: ['{}']}}]", "0f".repeat(32));
    for (watched, kind) in [
        (&denials.replace("kind: network, ", ""), Kind::Exec),
        (
            &denials.replace("denials, kind: network", "programs"),
            Kind::Exec,
        ),
        (
            &format!("integrity: [{{name: t, files: {files}}}]"),
            Kind::File,
        ),
    ] {
        let watched = refused("serial: 7", &more(watched));
        let name = "t".into();
        assert_eq!(watched, OutsideScope::Watched { name, kind });
    }
    let label = OutsideScope::Label {
        key: "env".into(),
        value: "production".into(),
    };
    assert_eq!(refused("env: production", "env: test"), label);
    assert_eq!(refused("env: production, ", ""), label);
}

#[test]
fn authors_are_read_from_a_configuration() {
    let key = TestKey::generate();
    let authors = authors(&key);
    let yaml = serde_saphyr::to_string(&authors).unwrap();
    assert!(yaml.contains("BEGIN PUBLIC KEY"));
    assert_eq!(serde_saphyr::from_str::<Authors>(&yaml).unwrap(), authors);
    let unknown = yaml.replace("highest_priority", "highest");
    assert!(serde_saphyr::from_str::<Authors>(&unknown).is_err());
    for names in ["team-*", "*/a", "", "/*", "a b"] {
        assert!(names.parse::<bartizan_policy::PolicyNames>().is_err());
    }
    assert!(
        "*".parse::<bartizan_policy::PolicyNames>()
            .unwrap()
            .include("any/thing")
    );
    let twice = vec![author("one", &key), author("one", &TestKey::generate())];
    assert_eq!(
        Authors::new(twice).unwrap_err(),
        NoAuthors::NameTwice("one".into())
    );
    let twice = vec![author("one", &key), author("two", &key)];
    assert_eq!(
        Authors::new(twice).unwrap_err(),
        NoAuthors::KeyTwice("one".into(), "two".into())
    );
    let many = (0..65).map(|number| author(&number.to_string(), &key));
    assert_eq!(
        Authors::new(many.collect()).unwrap_err(),
        NoAuthors::TooMany(65)
    );
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let other = PublicKey::from_point(Curve::P256, other.public_key().as_ref()).unwrap();
    assert!(AuthorKey::new(other).is_err());
    for text in ["", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"] {
        assert!(text.parse::<AuthorKey>().is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_change_is_refused(at: Index, flip in 1..=u8::MAX, cut: bool) {
        let key = TestKey::generate();
        let mut bytes = signed(POLICY, &key);
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= flip;
        }
        prop_assert!(authors(&key).verify(&bytes).is_err());
    }
}
