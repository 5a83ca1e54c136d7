//! The claims that a vault is asked to sign.
#![no_main]

use bartizan_attestation::appraisal::Status;
use bartizan_attestation::result::check_claims_json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(json) = str::from_utf8(data) else {
        return;
    };
    let Ok(claims) = check_claims_json(json) else {
        return;
    };
    assert_eq!(claims.to_json(), json, "two spellings of one claims set");
    assert!((1..=900).contains(&(claims.exp - claims.iat)));
    let memory = &claims.submods.memory;
    if memory.ear_status == Status::Affirming {
        assert_eq!(memory.ear_trustworthiness_vector.executables, 2);
        assert!(memory.ear_verifier_claims.findings.is_empty());
        assert!(!memory.ear_appraisal_policy_ids.is_empty());
    }
});
