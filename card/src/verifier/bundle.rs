//! Fetching a bundle from the verifier, for the coordinator's first stage. It is not looked at: the stage has the release key.

use std::time::Duration;

use bartizan_attestation::boot::{Bundle, BundleRefusal};
use bartizan_attestation::host::CardRefusal;
use bartizan_channel::https::{Request, Response};
use bartizan_channel::{ChannelError, Fault};

use super::Verifier;
use super::problem::is_problem;

/// The problem by which the verifier says that it has none.
const NONE: &str = "bundle-not-published";

impl Verifier {
    /// The newest bundle of a release key, as the verifier serves it, whose last byte must have come by the deadline. The host's boot
    /// needs not to be accepted.
    pub async fn newest_bundle(
        &self,
        release_key: &[u8; 32],
        deadline: Duration,
    ) -> Result<Vec<u8>, BundleRefusal> {
        // A connection of its own: others are not to wait behind it.
        let (mut connection, _age) = self.open().await.map_err(unopened)?;
        let request = Request {
            method: "GET",
            path: format!("/v1/bundles/{}", hex(release_key)),
            body: Vec::new(),
        };
        let answered = connection.send(request, Bundle::MAX_LEN, deadline).await;
        served(answered.map_err(|error| unanswered(&error, deadline))?)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unopened(refusal: CardRefusal) -> BundleRefusal {
    match refusal {
        CardRefusal::NotEnrolled => BundleRefusal::NotEnrolled,
        CardRefusal::VerifierAway(why) => BundleRefusal::VerifierAway(why),
        CardRefusal::LinkUnusable(why) => BundleRefusal::LinkUnusable(why),
        // A vault that does not sign, for the most part.
        other => BundleRefusal::LinkUnusable(other.to_string()),
    }
}

fn unanswered(error: &ChannelError, deadline: Duration) -> BundleRefusal {
    match error {
        ChannelError::TimedOut => BundleRefusal::TooSlow {
            seconds: deadline.as_secs(),
        },
        ChannelError::TooLarge { .. } => BundleRefusal::TooLarge,
        error => match error.fault() {
            Fault::Away => BundleRefusal::VerifierAway(error.to_string()),
            // The verifier has shown its certificate by then: it is this host's that is not taken.
            Fault::Untrusted => BundleRefusal::LinkUnusable(error.to_string()),
            Fault::Unusable => BundleRefusal::VerifierUnclear(error.to_string()),
        },
    }
}

fn served(response: Response) -> Result<Vec<u8>, BundleRefusal> {
    let Response { status, body } = response;
    if status == 200 {
        return Ok(body);
    }
    let told = body.get(..BundleRefusal::MAX_PROBLEM).unwrap_or(&body);
    let problem = String::from_utf8_lossy(told).into_owned();
    let refusal = CardRefusal::VerifierRefused {
        status,
        problem: problem.clone(),
    };
    if is_problem(&refusal, NONE) {
        return Err(BundleRefusal::NotPublished);
    }
    Err(BundleRefusal::VerifierRefused { status, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_bundle_or_says_why_there_is_none() {
        let answer = |status, body: &str| {
            let body = body.as_bytes().to_vec();
            served(Response { status, body })
        };
        assert_eq!(answer(200, "any bytes"), Ok(b"any bytes".to_vec()));
        let none = r#"{"type": "urn:bartizan:problem:bundle-not-published"}"#;
        assert_eq!(answer(404, none), Err(BundleRefusal::NotPublished));
        // A verifier that does not know the route, somebody else's error page, a redirection.
        for (status, body) in [
            (404, r#"{"type": "urn:bartizan:problem:not-found"}"#),
            (502, "<html>"),
            (302, ""),
            (204, ""),
        ] {
            let refused = answer(status, body).unwrap_err();
            assert!(
                matches!(&refused, BundleRefusal::VerifierRefused { status: said, .. } if *said == status),
                "{refused}"
            );
        }
        let long = answer(500, &"x".repeat(1 << 20)).unwrap_err();
        assert!(long.to_string().len() < BundleRefusal::MAX_PROBLEM + 100);
    }

    const DEADLINE: Duration = Duration::from_secs(180);

    #[test]
    fn silence_is_told_from_what_is_no_answer() {
        let refused = |error| unanswered(&error, DEADLINE);
        let io = |kind: std::io::ErrorKind| std::io::Error::from(kind);
        assert_eq!(
            refused(ChannelError::TimedOut),
            BundleRefusal::TooSlow { seconds: 180 }
        );
        let limit = Bundle::MAX_LEN;
        assert_eq!(
            refused(ChannelError::TooLarge { limit }),
            BundleRefusal::TooLarge
        );
        let reset = ChannelError::Connect(io(std::io::ErrorKind::ConnectionReset));
        assert!(matches!(refused(reset), BundleRefusal::VerifierAway(_)));
        let untrusted = ChannelError::Handshake(io(std::io::ErrorKind::InvalidData));
        assert!(matches!(refused(untrusted), BundleRefusal::LinkUnusable(_)));
    }
}
