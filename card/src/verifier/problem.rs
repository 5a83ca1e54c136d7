//! What the verifier says where it refuses: a problem document (RFC 9457) of its own types.

use bartizan_attestation::host::CardRefusal;
use serde::Deserialize;

/// What the types begin with.
const URN: &str = "urn:bartizan:problem:";
/// Longest type, in bytes; the verifier's longest have some 30.
const MAX_KIND: usize = 64;
/// Most characters of an explanation: one that names the digests of all PCRs fits.
const MAX_DETAIL: usize = 8192;

/// A problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    /// The last part of its type.
    pub(crate) kind: String,
    /// What is wrong.
    pub(crate) detail: String,
}

#[derive(Deserialize)]
struct Document {
    r#type: String,
    #[serde(default)]
    detail: String,
}

impl Problem {
    /// The verifier's word in a refusal; none where it is somebody else's page, or no word of the verifier's.
    pub(crate) fn of(refusal: &CardRefusal) -> Option<Self> {
        let CardRefusal::VerifierRefused { problem, .. } = refusal else {
            return None;
        };
        let document: Document = serde_json::from_str(problem).ok()?;
        let kind = document.r#type.strip_prefix(URN)?;
        let part = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_word = (1..=MAX_KIND).contains(&kind.len()) && kind.bytes().all(part);
        is_word.then(|| Self {
            kind: kind.to_owned(),
            detail: document.detail.chars().take(MAX_DETAIL).collect(),
        })
    }
}

/// Whether it is the verifier's word of that type.
pub(super) fn is_problem(refusal: &CardRefusal, kind: &str) -> bool {
    Problem::of(refusal).is_some_and(|problem| problem.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(problem: &str) -> Option<Problem> {
        Problem::of(&CardRefusal::VerifierRefused {
            status: 403,
            problem: problem.to_owned(),
        })
    }

    #[test]
    fn a_problem_has_a_word_of_the_verifiers() {
        let told = r#"{"type": "urn:bartizan:problem:vault-forked", "title": "Forbidden", "status": 403, "detail": "twice"}"#;
        let expected = Problem {
            kind: "vault-forked".into(),
            detail: "twice".into(),
        };
        assert_eq!(of(told), Some(expected));
        let bare = of(r#"{"type": "urn:bartizan:problem:x"}"#);
        assert_eq!(bare.unwrap().detail, "");
        for other in [
            "",
            "<html>",
            "[]",
            r#"{"detail": "twice"}"#,
            r#"{"type": "about:blank"}"#,
            r#"{"type": "urn:bartizan:problem:"}"#,
            r#"{"type": "urn:bartizan:problem:Not A Word"}"#,
        ] {
            assert_eq!(of(other), None, "{other}");
        }
        let long = format!(r#"{{"type": "urn:bartizan:problem:{}"}}"#, "x".repeat(65));
        assert_eq!(of(&long), None);
        assert_eq!(Problem::of(&CardRefusal::NotEnrolled), None);
    }

    #[test]
    fn an_explanation_is_no_longer_than_it_may_be() {
        let detail = "é".repeat(MAX_DETAIL + 1);
        let told = format!(r#"{{"type": "urn:bartizan:problem:x", "detail": "{detail}"}}"#);
        assert_eq!(of(&told).unwrap().detail.chars().count(), MAX_DETAIL);
    }
}
