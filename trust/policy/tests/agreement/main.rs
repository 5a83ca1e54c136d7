//! The compiled form decides as the plain one does, on whatever is generated.

mod policies;
mod requests;

use bartizan_policy::{Compiled, FlowWidth, Format, Operation, plain, read};
use proptest::prelude::*;

use policies::{guest, policies};
use requests::Owned;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn compiled_decides_as_plain_does(
        policies in policies(),
        guest in guest(),
        requests in prop::collection::vec(requests::request(), 1..40),
    ) {
        let compiled = Compiled::of(&policies, &guest).unwrap();
        for request in &requests {
            Owned::with(request, |request| {
                let plain = plain::decide(&policies, &guest, request);
                assert_eq!(compiled.decide(request), plain, "{request:?}");
            });
        }
    }

    /// What a decision depended on is all that it depended on.
    #[test]
    fn what_has_the_same_in_the_fields_is_decided_so(
        policies in policies(),
        guest in guest(),
        requests in prop::collection::vec(requests::request(), 2..40),
    ) {
        let compiled = Compiled::of(&policies, &guest).unwrap();
        for one in &requests {
            for other in &requests {
                one.with(|one| other.with(|other| {
                    let (decision, depended) = compiled.decide_widely(one);
                    let same_kind = one.operation.kind() == other.operation.kind();
                    if same_kind && depended.iter().all(|field| field.is_same(one, other)) {
                        assert_eq!(compiled.decide(other), decision, "{one:?} {other:?} {depended:?}");
                    }
                }));
            }
        }
    }

    /// What is cached of a flow is right for every flow that is found by it.
    #[test]
    fn flows_within_a_width_are_decided_alike(
        policies in policies(),
        guest in guest(),
        flows in requests::flows(),
    ) {
        let compiled = Compiled::of(&policies, &guest).unwrap();
        for one in &flows {
            for other in &flows {
                one.with(|one| other.with(|other| {
                    let (decision, depended) = compiled.decide_widely(one);
                    let width = FlowWidth::of(one, &depended).unwrap();
                    let (Operation::Network(itself), Operation::Network(flow)) =
                        (&one.operation, &other.operation) else { panic!("flows") };
                    assert!(width.contains(itself), "{width:?} {itself:?}");
                    if width.contains(flow) {
                        assert_eq!(compiled.decide(other), decision, "{one:?} {other:?} {width:?}");
                    }
                }));
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again(policies in policies()) {
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
