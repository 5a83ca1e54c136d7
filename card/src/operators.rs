//! Which operators are revoked: asked of the verifier at each launch, so that what they signed is launched no more.
//! Guests that run go on.
//!
//! While the verifier is away, nothing is launched; or, for as long as the configuration grants, what is allowed by the
//! answer that it gave last. That answer is on disk: a card that starts anew knows it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bartizan_attestation::host::CardRefusal;
use serde::{Deserialize, Serialize};

use crate::verifier::Verifier;

/// What is known of revoked operators.
#[derive(Debug)]
pub struct RevokedOperators {
    file: PathBuf,
    grace_s: u64,
    known: Mutex<Option<Known>>,
}

/// The verifier's last answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// When it came, in seconds since the Unix epoch.
    at_s: u64,
    operators: BTreeSet<String>,
}

impl RevokedOperators {
    /// What the folder keeps; a damaged file is as none.
    #[must_use]
    pub fn open(state_dir: &Path, grace_s: u64) -> Self {
        let file = state_dir.join("revoked-operators.json");
        let known = fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            file,
            grace_s,
            known: Mutex::new(known),
        }
    }

    /// Refuses a launch that `operator` signed, where it is revoked or that cannot be learnt.
    pub async fn check(&self, verifier: &Verifier, operator: &str) -> Result<(), CardRefusal> {
        let answer = verifier.revoked_operators().await;
        self.judge(answer, operator, crate::unix_now())
    }

    fn judge(
        &self,
        answer: Result<BTreeSet<String>, CardRefusal>,
        operator: &str,
        now_s: u64,
    ) -> Result<(), CardRefusal> {
        let known = match answer {
            Ok(operators) => {
                let known = Known {
                    at_s: now_s,
                    operators,
                };
                self.keep(&known);
                known
            }
            Err(CardRefusal::VerifierAway(why)) => self
                .within_grace(now_s)
                .ok_or(CardRefusal::RevocationsUnknown(why))?,
            Err(refusal) => return Err(refusal),
        };
        if known.operators.contains(operator) {
            Err(CardRefusal::OperatorRevoked(operator.to_owned()))
        } else {
            Ok(())
        }
    }

    /// The last answer, if it is not too old. One of the future tells that the clock was set back: its age is unknown.
    fn within_grace(&self, now_s: u64) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone().filter(|known| {
            now_s
                .checked_sub(known.at_s)
                .is_some_and(|age| age < self.grace_s)
        })
    }

    fn keep(&self, known: &Known) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        let partial = self.file.with_extension("partial");
        let written = serde_json::to_vec(known)
            .map_err(std::io::Error::from)
            .and_then(|bytes| fs::write(&partial, bytes))
            .and_then(|()| fs::rename(&partial, &self.file));
        if let Err(error) = written {
            // A card that starts anew knows less, and launches less.
            tracing::warn!(file = %self.file.display(), %error, "revoked operators are not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn revoked(names: &[&str]) -> Result<BTreeSet<String>, CardRefusal> {
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn away() -> Result<BTreeSet<String>, CardRefusal> {
        Err(CardRefusal::VerifierAway("down".into()))
    }

    #[test]
    fn the_verifier_is_believed_at_each_launch() {
        let folder = tempfile::tempdir().unwrap();
        let known = RevokedOperators::open(folder.path(), 0);
        assert_eq!(known.judge(revoked(&[]), "ann", NOW), Ok(()));
        assert_eq!(
            known.judge(revoked(&["ann", "bob"]), "ann", NOW),
            Err(CardRefusal::OperatorRevoked("ann".into()))
        );
        assert_eq!(known.judge(revoked(&["bob"]), "ann", NOW), Ok(()));
    }

    #[test]
    fn nothing_is_launched_while_the_verifier_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let known = RevokedOperators::open(folder.path(), 0);
        assert_eq!(known.judge(revoked(&[]), "ann", NOW), Ok(()));
        let unknown = Err(CardRefusal::RevocationsUnknown("down".into()));
        assert_eq!(known.judge(away(), "ann", NOW), unknown);
        let refused = CardRefusal::VerifierRefused {
            status: 403,
            problem: "{}".into(),
        };
        assert_eq!(known.judge(Err(refused.clone()), "ann", NOW), Err(refused));
    }

    #[test]
    fn a_grace_is_granted_on_the_last_answer_and_outlives_the_card() {
        let folder = tempfile::tempdir().unwrap();
        let unknown = Err(CardRefusal::RevocationsUnknown("down".into()));
        let first = RevokedOperators::open(folder.path(), 60);
        assert_eq!(first.judge(away(), "ann", NOW), unknown, "no answer yet");
        assert_eq!(first.judge(revoked(&["bob"]), "ann", NOW), Ok(()));
        let again = RevokedOperators::open(folder.path(), 60);
        for known in [&first, &again] {
            assert_eq!(known.judge(away(), "ann", NOW + 59), Ok(()));
            assert_eq!(
                known.judge(away(), "bob", NOW + 59),
                Err(CardRefusal::OperatorRevoked("bob".into()))
            );
            assert_eq!(known.judge(away(), "ann", NOW + 60), unknown);
            assert_eq!(
                known.judge(away(), "ann", NOW - 1),
                unknown,
                "the clock went back"
            );
        }
        fs::write(folder.path().join("revoked-operators.json"), "{").unwrap();
        let damaged = RevokedOperators::open(folder.path(), 60);
        assert_eq!(damaged.judge(away(), "ann", NOW), unknown);
    }
}
