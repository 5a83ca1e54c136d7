//! A decision allocates nothing, whatever it is about: who sends requests has nobody run out of memory by it, and waits for no allocator.

use bartizan_policy::Compiled;
use bartizan_policy_tests::{Sizes, guest, policies, request};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_decision_allocates_nothing(
        policies in policies(Sizes::Small),
        guest in guest(),
        requests in prop::collection::vec(request(), 1..40),
    ) {
        let compiled = Compiled::of(&policies, &guest).unwrap();
        for request in &requests {
            let counted = request.with(|request| {
                allocation_counter::measure(|| {
                    std::hint::black_box(compiled.decide(request));
                })
            });
            prop_assert_eq!(counted.count_total, 0, "{:?}", request);
        }
    }
}

/// What counts does count.
#[test]
fn an_allocation_is_noticed() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 64])));
    assert_eq!(counted.count_total, 1);
}
