//! Nonces and reports: what hosts call.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::measurement::SignedReport;

use super::access::Host;
use super::body::Body;
use super::documents::{JudgementDocument, NonceDocument, NonceRequestDocument, ReportDocument};
use super::input::{self, InputError};
use crate::clock::now_ms;
use crate::judge::{self, JudgeError, Submission};
use crate::problem::{Problem, ProblemDocument};
use crate::service::Service;
use crate::task::{blocking, to_its_end};

/// Issues a nonce for a report of one of the host's guests.
#[utoipa::path(
    post, path = "/v1/nonces", tag = "host",
    request_body = NonceRequestDocument,
    responses(
        (status = 200, body = NonceDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn issue_nonce(
    State(service): State<Arc<Service>>,
    host: Host,
    input::Json(wish, _share): input::Json<NonceRequestDocument>,
) -> Result<Json<NonceDocument>, Problem> {
    let expected = "urn:bartizan:guest:<card>:<vm uuid>:<boot>";
    let guest: GuestIdentity = wish.guest.parse().map_err(|_| InputError::Field {
        field: "guest",
        expected,
    })?;
    if guest.card != host.card {
        return Err(JudgeError::OtherHost {
            peer: host.card,
            report: guest.card,
        }
        .into());
    }
    // The host's own key is known to be accepted.
    let (storage, keys) = (&service.storage, [host.card_key; 2]);
    let standing = storage.standing(&guest, None, &keys, now_ms()).await?;
    if standing.guest_revoked {
        return Err(JudgeError::GuestRevoked { guest }.into());
    }
    if standing
        .highest_boot
        .is_some_and(|highest| guest.boot < highest)
    {
        return Err(JudgeError::SupersededBoot { boot: guest.boot }.into());
    }
    // Said before the guest is paused for a report that would come to nothing.
    let refused = service.quota.check(&guest, Instant::now());
    refused.map_err(JudgeError::from)?;
    let expires_at_ms = now_ms() + service.config.nonce_lifetime_s * 1000;
    let nonce = {
        let mut nonces = service
            .nonces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        nonces.issue(guest, Instant::now())?
    };
    Ok(Json(NonceDocument {
        nonce: nonce.to_vec().into(),
        expires_at_ms,
    }))
}

/// Judges a report of one of the host's guests. An answer 200 says that there is a verdict, not that
/// it is good: that is in the token.
#[utoipa::path(
    post, path = "/v1/reports", tag = "host",
    request_body = ReportDocument,
    responses(
        (status = 200, body = JudgementDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn submit(
    State(service): State<Arc<Service>>,
    host: Host,
    Body { bytes, share }: Body,
) -> Result<Json<JudgementDocument>, Problem> {
    let refused = service.quota.check_host(host.card, Instant::now());
    refused.map_err(JudgeError::from)?;
    let judgement = to_its_end(share, async move {
        // Megabytes of base64.
        let submission = blocking(move || read_submission(&bytes)).await??;
        let judged = judge::judge(&service, host.card, host.firmware, submission);
        Ok::<_, Problem>(judged.await?)
    })
    .await?;
    Ok(Json(JudgementDocument {
        verdict: judgement.verdict,
        token: judgement.token,
    }))
}

/// Reads the body of a `POST /v1/reports`; nothing in it is verified.
pub fn read_submission(body: &[u8]) -> Result<Submission, InputError> {
    let ReportDocument {
        report,
        page_digests,
        guest_chain,
    } = serde_json::from_slice(body)?;
    let guest_chain = guest_chain
        .into_iter()
        .map(|certificate| certificate.0)
        .collect();
    Ok(Submission {
        report: SignedReport {
            message: report.0,
            page_digests: page_digests.map(|digests| digests.0),
        },
        guest_chain,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SignedReport, read_submission};
    use crate::binary::Binary;

    #[test]
    fn a_chain_has_at_most_four_certificates() {
        let body = |certificates: usize| {
            let chain = vec!["MAAA"; certificates];
            serde_json::json!({"report": "", "guest_chain": chain}).to_string()
        };
        for fits in [0, 1, 4] {
            let read = read_submission(body(fits).as_bytes()).unwrap();
            assert_eq!(read.guest_chain.len(), fits);
        }
        let refused = read_submission(body(5).as_bytes()).unwrap_err();
        assert!(
            refused.to_string().contains("at most 4 certificates"),
            "{refused}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..512)) {
            let _either = read_submission(&body);
        }

        #[test]
        fn what_was_sent_is_what_is_read(
            report in prop::collection::vec(any::<u8>(), 0..256),
            page_digests in prop::option::of(prop::collection::vec(any::<u8>(), 0..64)),
            chain in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..4),
        ) {
            let certificates: Vec<_> = chain.iter().map(|der| Binary::encode(der)).collect();
            let body = serde_json::json!({
                "report": Binary::encode(&report),
                "page_digests": page_digests.as_deref().map(Binary::encode),
                "guest_chain": certificates,
            });
            let read = read_submission(body.to_string().as_bytes()).unwrap();
            let sent = SignedReport { message: report, page_digests };
            prop_assert_eq!((read.report, read.guest_chain), (sent, chain));
        }
    }
}
