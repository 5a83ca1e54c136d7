//! What a TLS key may sign: the content of a TLS 1.3 CertificateVerify, and nothing else.

use bartizan_attestation::keys::Purpose;

/// 64 spaces (RFC 8446 section 4.4.3).
const PADDING: [u8; 64] = [0x20; 64];
const SERVER: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const CLIENT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

/// Whether `message` is what the TLS key of this purpose signs in a handshake.
pub(crate) fn is_certificate_verify(purpose: Purpose, message: &[u8]) -> bool {
    let context = match purpose {
        Purpose::TlsServer => SERVER,
        Purpose::TlsClient => CLIENT,
        Purpose::FleetCa | Purpose::CardIdentity | Purpose::Token => return false,
    };
    let transcript = message
        .strip_prefix(&PADDING)
        .and_then(|rest| rest.strip_prefix(context));
    // The transcript hash is that of the cipher suite: SHA-256 or SHA-384.
    transcript.is_some_and(|hash| matches!(hash.len(), 32 | 48))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_side_and_a_whole_hash_pass() {
        let message = |context: &[u8], hash: usize| [&PADDING, context, &vec![7; hash]].concat();
        assert!(is_certificate_verify(
            Purpose::TlsServer,
            &message(SERVER, 48)
        ));
        assert!(is_certificate_verify(
            Purpose::TlsClient,
            &message(CLIENT, 32)
        ));
        assert!(!is_certificate_verify(
            Purpose::TlsServer,
            &message(CLIENT, 48)
        ));
        assert!(!is_certificate_verify(
            Purpose::TlsClient,
            &message(CLIENT, 47)
        ));
        assert!(!is_certificate_verify(Purpose::Token, &message(SERVER, 48)));
        assert!(!is_certificate_verify(
            Purpose::TlsServer,
            &message(SERVER, 48)[1..]
        ));
        assert!(!is_certificate_verify(Purpose::TlsServer, b""));
    }
}
