//! Renewal requests: the input as a whole message, and as a payload that the guest signed.
#![no_main]

use bartizan_attestation::host::Enrollment;
use bartizan_attestation::renewal::{CertifiedKey, Renewal, RenewalRefusal, RenewalRequest, judge};
use bartizan_fuzz::fleet::NOW_S;
use bartizan_fuzz::scene::{enrollment, signed_renewal};
use libfuzzer_sys::fuzz_target;

const NOW_MS: u64 = NOW_S * 1000;

fuzz_target!(|data: &[u8]| {
    let enrolled = enrollment();
    is_right(judge(data, &enrolled, NOW_MS), &enrolled);
    let decoded = RenewalRequest::decode(data).ok();
    if let Some(request) = &decoded {
        assert_eq!(request.encode(), data, "two encodings of one request");
        // Certificates differ from run to run: no input can name the enrolled one.
        let named = RenewalRequest::new(&enrolled.chain[0], request.csr.clone());
        is_right(
            judge(&signed_renewal(&named.encode()), &enrolled, NOW_MS),
            &enrolled,
        );
    }
    let judged = judge(&signed_renewal(data), &enrolled, NOW_MS);
    let malformed = matches!(
        judged,
        Err(RenewalRefusal::Malformed(_)
            | RenewalRefusal::TooLarge { .. }
            | RenewalRefusal::Version(_))
    );
    assert_eq!(malformed, decoded.is_none());
    is_right(judged, &enrolled);
    // As what is enrolled: whatever it is, it renews nothing.
    let _ = CertifiedKey::read(data);
});

/// The first of a boot: what is due is another key, and nothing can be done already.
fn is_right(judged: Result<Renewal, RenewalRefusal>, enrolled: &Enrollment) {
    if let Ok(renewal) = judged {
        let Renewal::Due { key, csr } = renewal else {
            panic!("done already")
        };
        let current = CertifiedKey::read(&enrolled.chain[0]).expect("a certificate");
        assert_ne!(key, current.key);
        assert_eq!(bartizan_attestation::csr::verify(&csr), Ok(key));
    }
}
