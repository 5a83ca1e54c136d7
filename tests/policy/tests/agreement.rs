//! The compiled form decides as the plain one does, on whatever is generated: some of what `cargo xtask soak policy` tries.

use bartizan_policy::{Format, read};
use bartizan_policy_tests::agreement::Subject;
use bartizan_policy_tests::{Sizes, flows, guest, policies, request};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn compiled_decides_as_plain_does(
        policies in policies(Sizes::Small),
        guest in guest(),
        requests in prop::collection::vec((request(), request(), any::<bool>()), 1..40),
    ) {
        let subject = Subject::new(&policies, &guest).unwrap();
        for (one, other, low) in &requests {
            let agreed = subject.agrees(one, other, *low);
            prop_assert!(agreed.is_ok(), "{}\n{one:?}", agreed.unwrap_err());
        }
    }

    /// What is cached of a flow is right for every flow that is found by it.
    #[test]
    fn flows_within_a_width_are_decided_alike(
        policies in policies(Sizes::Small),
        guest in guest(),
        (facts, flows) in flows(2..40),
        low in any::<bool>(),
    ) {
        let subject = Subject::new(&policies, &guest).unwrap();
        for one in &flows {
            for other in &flows {
                let agreed = subject.agrees_on_flows(&facts, one, other, low);
                prop_assert!(agreed.is_ok(), "{}\n{one:?}", agreed.unwrap_err());
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again(policies in policies(Sizes::Small)) {
        for policy in policies {
            let json = serde_json::to_string_pretty(&policy).unwrap();
            prop_assert_eq!(&read(&json, Format::Json).unwrap(), &policy);
            // Each JSON is YAML.
            prop_assert_eq!(&read(&json, Format::Yaml).unwrap(), &policy);
        }
    }

    #[test]
    fn no_text_is_too_much(text in ".{0,400}") {
        let _refused = read(&text, Format::Yaml);
        let _refused = read(&text, Format::Json);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// So many that a summary has several words.
    #[test]
    fn thousands_of_rules_are_decided_alike(
        policies in policies(Sizes::Large),
        guest in guest(),
        requests in prop::collection::vec((request(), request(), any::<bool>()), 20),
    ) {
        let subject = Subject::new(&policies, &guest).unwrap();
        for (one, other, low) in &requests {
            let agreed = subject.agrees(one, other, *low);
            prop_assert!(agreed.is_ok(), "{}\n{one:?}", agreed.unwrap_err());
        }
    }
}
