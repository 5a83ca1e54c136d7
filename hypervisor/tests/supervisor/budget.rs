//! What a guest's requests spend.

use crate::boot_sector::Program;
use crate::daemon::Daemon;
use crate::host::Host;
use crate::renewal::{COSE, JSON, kind, send};

const ROUTES: [(&str, &str, &str, u16); 6] = [
    ("POST", "/launch_secret", JSON, 200),
    ("POST", "/enroll", JSON, 422),
    ("POST", "/renew", COSE, 403),
    ("POST", "/attestation_nonce", JSON, 503),
    ("POST", "/attest_guest_memory", COSE, 403),
    ("GET", "/token_certificates", JSON, 200),
];

/// Granted, refused or garbage: each of the six has spent one of six.
#[tokio::test]
async fn every_route_spends_from_the_one_budget_however_it_answers() {
    let host = Host::with(
        Program::PrintsLogin,
        "budget: {requests_per_minute: 6, concurrent: 1}\n",
    );
    host.launch().await.unwrap();
    let _daemon = Daemon::start(&host).await;
    for (method, path, content, expected) in ROUTES {
        let (status, body) = send(&host, method, path, content, b"{}".to_vec()).await;
        assert_eq!(status, expected, "{path}: {body}");
    }
    for (method, path, content, _) in ROUTES {
        let (status, body) = send(&host, method, path, content, b"{}".to_vec()).await;
        assert_eq!((status, kind(&body)), (429, "busy"), "{path}: {body}");
    }
    host.stop(true).await;
}
