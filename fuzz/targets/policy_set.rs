//! Signed policies and sets of them: only what an author signed is believed.
#![no_main]

use std::sync::LazyLock;

use bartizan_fuzz::fleet::FLEET;
use bartizan_policy::{
    Action, Author, AuthorKey, Authors, Format, Kind, PolicySet, Scope, ScopedGuests, Seen, read,
    sign_policy,
};
use libfuzzer_sys::fuzz_target;

/// The one author, who may write anything.
static AUTHORS: LazyLock<Authors> = LazyLock::new(|| {
    let scope = Scope {
        policies: vec!["*".parse().expect("all names")],
        kinds: Kind::ALL.to_vec(),
        guests: ScopedGuests::default(),
        highest_priority: i32::MAX,
        most_severe: Action::Kill,
    };
    let key = AuthorKey::new(FLEET.operator_key.public_key()).expect("a P-384 key");
    let name = "alice".into();
    Authors::new(vec![Author { name, key, scope }]).expect("one author")
});

fuzz_target!(|data: &[u8]| {
    // The guest's key is no author's: nothing that it signs is believed.
    let stranger = &FLEET.guest_key;
    if let Ok(set) = PolicySet::from_bytes(data) {
        assert_eq!(set.to_bytes(), data, "one set, two encodings");
        if let Ok(authentic) = set.authenticate(&AUTHORS, &Seen::default()) {
            assert_eq!(authentic.policies().len(), set.policies.len());
            assert_eq!(authentic.digest(), &set.digest());
            set.authenticate(&AUTHORS, authentic.seen())
                .expect("what is in force may be so again");
        }
    }
    let _refused = AUTHORS.verify(data);
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    for format in [Format::Yaml, Format::Json] {
        let public = FLEET.operator_key.public_key();
        let Ok(policy) = read(text, format) else {
            assert!(sign_policy(text, format, &public, &FLEET.operator_key).is_err());
            continue;
        };
        let signed = sign_policy(text, format, &public, &FLEET.operator_key);
        let signed = signed.expect("what is right can be signed");
        let authentic = AUTHORS.verify(&signed).expect("the author signed it");
        assert_eq!(authentic.policy(), &policy);
        let forged = sign_policy(text, format, &public, stranger).expect("a key signs");
        assert!(AUTHORS.verify(&forged).is_err(), "a forged policy verifies");
    }
});
