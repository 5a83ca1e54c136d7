//! The textual encoding of certificates and requests (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;

/// Characters in a line (RFC 7468 section 2).
const LINE: usize = 64;

/// What the text says that it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// A certificate.
    Certificate,
    /// A PKCS#10 request.
    CertificateRequest,
}

/// One block for each DER object, in order.
#[must_use]
pub fn encode(label: Label, objects: &[Vec<u8>]) -> String {
    let label = match label {
        Label::Certificate => "CERTIFICATE",
        Label::CertificateRequest => "CERTIFICATE REQUEST",
    };
    let mut text = String::new();
    for der in objects {
        text.push_str(&format!("-----BEGIN {label}-----\n"));
        let mut encoded = STANDARD.encode(der);
        while !encoded.is_empty() {
            let rest = encoded.split_off(LINE.min(encoded.len()));
            text.push_str(&encoded);
            text.push('\n');
            encoded = rest;
        }
        text.push_str(&format!("-----END {label}-----\n"));
    }
    text
}

/// The DER of a PKCS#10 request that is in PEM, or is DER already; `None` if it looks like neither.
#[must_use]
pub fn decode_request(bytes: &[u8]) -> Option<Vec<u8>> {
    // 0x30 begins a DER sequence; as ASCII it is `0`, which begins no PEM block.
    if bytes.first() == Some(&0x30) {
        return Some(bytes.to_vec());
    }
    CertificateSigningRequestDer::from_pem_slice(bytes)
        .ok()
        .map(|request| request.to_vec())
}

#[cfg(test)]
mod tests {
    use super::{Label, decode_request, encode};

    #[test]
    fn what_was_encoded_is_read_back() {
        for size in [1, 47, 48, 49, 1000] {
            let der = vec![0x30; size];
            let text = encode(Label::CertificateRequest, std::slice::from_ref(&der));
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(decode_request(text.as_bytes()), Some(der.clone()));
            assert_eq!(decode_request(&der), Some(der));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
            let _either = decode_request(&bytes);
        }
    }

    #[test]
    fn other_text_is_no_request() {
        for other in [
            &b""[..],
            b"hello",
            b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert_eq!(decode_request(other), None);
        }
    }
}
