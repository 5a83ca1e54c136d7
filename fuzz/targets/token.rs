//! Attestation results. The input is a whole token, and what the fleet's own key signs: header and claims where there
//! are two lines, claims under the right header where it begins as such, else the signed part as it is.
#![no_main]

use std::sync::LazyLock;

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::result::{AttestationResult, verify_token};
use bartizan_fuzz::fleet::{FLEET, NOW_S};
use bartizan_fuzz::scene::{CERTIFICATE, expectation};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;

static CHAINS: LazyLock<[Vec<Vec<u8>>; 1]> = LazyLock::new(|| [FLEET.chain(Usage::Token)]);
static TRUE_CERTIFICATE: LazyLock<String> =
    LazyLock::new(|| URL_SAFE_NO_PAD.encode(sha256(&CHAINS[0][0])));

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let expectation = expectation();
    let verify = |token: &str| verify_token(token, &*CHAINS, &FLEET.ca, &expectation);
    assert!(verify(text).is_err(), "nobody signed this");
    let signed = match text.split_once('\n') {
        Some((header, claims)) => {
            let header = header.replace(CERTIFICATE, &TRUE_CERTIFICATE);
            let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
            FLEET.token_key.sign(&format!("{header}.{claims}"))
        }
        None if text.starts_with('{') => FLEET.token_key.token(&CHAINS[0][0], text),
        None => FLEET.token_key.sign(text),
    };
    if let Ok(result) = verify(&signed) {
        is_right(result);
    }
});

fn is_right(result: AttestationResult) {
    let (claims, expected) = (result.claims(), expectation());
    assert_eq!(
        (claims.aud.as_str(), claims.sub),
        (expected.audience, expected.guest)
    );
    assert_eq!(claims.bartizan_application, expected.application);
    assert_eq!(claims.eat_nonce, expected.guest_nonce);
    assert_eq!(claims.bartizan_request, expected.request_digest);
    assert_eq!(claims.cnf.jkt, expected.key_thumbprint);
    assert!(NOW_S < claims.exp && claims.nbf <= NOW_S + 60 && claims.exp - claims.iat <= 900);
    let findings = claims.submods.memory.ear_verifier_claims.findings.len();
    if result.into_affirmed().is_ok() {
        assert_eq!(findings, 0, "an affirmation that says what is wrong");
    }
}
