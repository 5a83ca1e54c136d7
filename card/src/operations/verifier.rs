//! What the verifier's refusals are to operators.

use bartizan_attestation::host::CardRefusal;
use bartizan_attestation::operation::OperationRefusal;

use crate::verifier::Problem;

/// The verifier's word that it refuses this host (403), or has had enough of it for now (429); none where it says something else, or
/// somebody else does.
pub(super) fn host_refused(refusal: &CardRefusal) -> Option<OperationRefusal> {
    let CardRefusal::VerifierRefused { status, .. } = refusal else {
        return None;
    };
    let Problem { kind, detail } = Problem::of(refusal)?;
    match status {
        403 => Some(OperationRefusal::HostRefused { kind, detail }),
        429 => Some(OperationRefusal::VerifierBusy(format!("{detail} ({kind})"))),
        _ => None,
    }
}

/// Of what was begun: nothing came of it, or the verifier may have done its part. `not_done` where it was not asked.
pub(super) fn begun(
    refusal: CardRefusal,
    not_done: fn(String) -> OperationRefusal,
) -> OperationRefusal {
    if let Some(refused) = host_refused(&refusal) {
        return refused;
    }
    match refusal {
        CardRefusal::VerifierAway(why) => OperationRefusal::VerifierAway(why),
        CardRefusal::VerifierRefused { status, .. } if status >= 500 => {
            OperationRefusal::VerifierAway(refusal.to_string())
        }
        CardRefusal::VerifierRefused { status: 409, .. } => not_done(refusal.to_string()),
        CardRefusal::VerifierRefused { .. } | CardRefusal::VerifierUnclear(_) => {
            OperationRefusal::VerifierUnclear(refusal.to_string())
        }
        CardRefusal::VaultAway(why) => OperationRefusal::VaultAway(why),
        other => not_done(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, problem: &str) -> CardRefusal {
        let problem = problem.to_owned();
        CardRefusal::VerifierRefused { status, problem }
    }

    const FORKED: &str = r#"{"type": "urn:bartizan:problem:vault-forked", "detail": "twice"}"#;

    #[test]
    fn a_refusal_is_told_from_an_outage_and_from_what_was_never_asked() {
        let word = |refusal| begun(refusal, OperationRefusal::NotAttested).word();
        for (refusal, expected) in [
            (refused(403, FORKED), "host-refused"),
            (refused(503, FORKED), "verifier-away"),
            (refused(502, "<html>"), "verifier-away"),
            (refused(404, "<html>"), "verifier-unclear"),
            (refused(408, FORKED), "verifier-unclear"),
            (refused(409, FORKED), "not-attested"),
            (refused(429, FORKED), "verifier-busy"),
            (CardRefusal::VerifierUnclear("x".into()), "verifier-unclear"),
            (CardRefusal::VerifierAway("down".into()), "verifier-away"),
            (CardRefusal::VaultAway("down".into()), "vault-away"),
            (CardRefusal::VaultRefused("no".into()), "not-attested"),
            (CardRefusal::BootUnderWay, "not-attested"),
            (CardRefusal::LinkUnusable("x".into()), "not-attested"),
        ] {
            assert_eq!(word(refusal.clone()), expected, "{refusal}");
        }
    }

    #[test]
    fn an_operator_is_told_why_in_the_verifiers_words() {
        let told = host_refused(&refused(403, FORKED)).unwrap().to_string();
        assert!(told.contains("twice (vault-forked)"), "{told}");
        for other in [
            refused(408, FORKED),
            refused(409, FORKED),
            refused(503, FORKED),
            refused(403, "<html>"),
        ] {
            assert_eq!(host_refused(&other), None);
        }
    }
}
