//! Whether an operator is revoked: asked of the verifier at each launch, so that what they signed is launched no more.
//! Guests that run go on.
//!
//! While the verifier is away, nothing is launched; or, for as long as the configuration grants, what is allowed by the
//! answer that it gave last on the same operator. Those answers are on disk: a card that starts anew knows them. An answer
//! that is not understood, or too large, is no absence but a refusal, and so are the card's own congestion and its vault's silence.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bartizan_attestation::host::CardRefusal;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::verifier::Verifier;

/// Most operators of whom an answer is kept; of more, the oldest answers are forgotten.
const MAX_KNOWN: usize = 1024;

/// What is known of operators.
#[derive(Debug)]
pub struct Operators {
    file: PathBuf,
    grace_s: u64,
    known: Mutex<BTreeMap<String, Answer>>,
}

/// The verifier's last answer on an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// When it came, in seconds since the Unix epoch.
    at_s: u64,
    revoked: bool,
}

impl Operators {
    /// What the folder keeps; a damaged file is as none.
    #[must_use]
    pub fn open(state_dir: &Path, grace_s: u64) -> Self {
        let file = state_dir.join("operators.json");
        let known = fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            file,
            grace_s,
            known: Mutex::new(known.unwrap_or_default()),
        }
    }

    /// Refuses a launch that `operator` signed, where it is revoked or that cannot be learnt.
    pub async fn check(&self, verifier: &Verifier, operator: &str) -> Result<(), CardRefusal> {
        let answer = verifier.is_revoked(operator).await;
        // The answer is flushed to the disk.
        tokio::task::block_in_place(|| self.judge(answer, operator, crate::unix_now()))
    }

    fn judge(
        &self,
        answer: Result<bool, CardRefusal>,
        operator: &str,
        now_s: u64,
    ) -> Result<(), CardRefusal> {
        let revoked = match answer {
            Ok(revoked) => {
                self.keep(operator, revoked, now_s);
                revoked
            }
            Err(CardRefusal::VerifierAway(why)) => self
                .within_grace(operator, now_s)
                .ok_or(CardRefusal::RevocationsUnknown(why))?,
            Err(refusal) => return Err(refusal),
        };
        if revoked {
            Err(CardRefusal::OperatorRevoked(operator.to_owned()))
        } else {
            Ok(())
        }
    }

    /// The last answer, if it is not too old.
    fn within_grace(&self, operator: &str, now_s: u64) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = known.get(operator)?;
        self.is_within_grace(answer, now_s)
            .then_some(answer.revoked)
    }

    /// One of the future tells that the clock was set back: its age is unknown.
    fn is_within_grace(&self, answer: &Answer, now_s: u64) -> bool {
        let age = now_s.checked_sub(answer.at_s);
        age.is_some_and(|age| age < self.grace_s)
    }

    fn keep(&self, operator: &str, revoked: bool, now_s: u64) {
        let answer = Answer {
            at_s: now_s,
            revoked,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(operator.to_owned(), answer);
        known.retain(|_, answer| self.is_within_grace(answer, now_s));
        while known.len() > MAX_KNOWN {
            let oldest = known.iter().min_by_key(|(_, answer)| answer.at_s);
            let Some(oldest) = oldest.map(|(operator, _)| operator.clone()) else {
                break;
            };
            known.remove(&oldest);
        }
        // Under the lock: of two answers, the later one is on disk.
        let Err(error) = self.write(&known) else {
            return;
        };
        let file = self.file.display();
        tracing::warn!(%file, %error, "what is known of operators is not kept");
        // An older answer would let a card that starts anew launch more: without any it launches less.
        if let Err(error) = durable::remove(&self.file) {
            tracing::error!(%file, %error, "older answers on operators stay on disk; remove the file");
        }
    }

    fn write(&self, known: &BTreeMap<String, Answer>) -> std::io::Result<()> {
        durable::replace(&self.file, &serde_json::to_vec(known)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn away() -> Result<bool, CardRefusal> {
        Err(CardRefusal::VerifierAway("down".into()))
    }

    fn unknown() -> Result<(), CardRefusal> {
        Err(CardRefusal::RevocationsUnknown("down".into()))
    }

    fn revoked(operator: &str) -> Result<(), CardRefusal> {
        Err(CardRefusal::OperatorRevoked(operator.into()))
    }

    #[test]
    fn the_verifier_is_believed_at_each_launch() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 0);
        assert_eq!(known.judge(Ok(false), "ann", NOW), Ok(()));
        assert_eq!(known.judge(Ok(true), "ann", NOW), revoked("ann"));
        assert_eq!(known.judge(Ok(false), "ann", NOW), Ok(()));
    }

    #[test]
    fn nothing_is_launched_while_the_verifier_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 0);
        assert_eq!(known.judge(Ok(false), "ann", NOW), Ok(()));
        assert_eq!(known.judge(away(), "ann", NOW), unknown());
    }

    #[test]
    fn an_answer_that_is_none_is_no_absence() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 60);
        assert_eq!(known.judge(Ok(false), "ann", NOW), Ok(()));
        let problem = "{}".to_owned();
        for refusal in [
            CardRefusal::VerifierUnclear("2 MiB".into()),
            CardRefusal::Busy("32 requests".into()),
            CardRefusal::LinkUnusable("not signed".into()),
            CardRefusal::VaultAway("down".into()),
            CardRefusal::VerifierRefused {
                status: 503,
                problem,
            },
        ] {
            let judged = known.judge(Err(refusal.clone()), "ann", NOW);
            assert_eq!(judged, Err(refusal));
        }
    }

    #[test]
    fn a_grace_is_granted_on_the_last_answer_and_outlives_the_card() {
        let folder = tempfile::tempdir().unwrap();
        let first = Operators::open(folder.path(), 60);
        assert_eq!(first.judge(away(), "ann", NOW), unknown(), "no answer yet");
        assert_eq!(first.judge(Ok(false), "ann", NOW), Ok(()));
        assert_eq!(first.judge(Ok(true), "bob", NOW), revoked("bob"));
        let again = Operators::open(folder.path(), 60);
        for known in [&first, &again] {
            assert_eq!(known.judge(away(), "ann", NOW + 59), Ok(()));
            assert_eq!(known.judge(away(), "bob", NOW + 59), revoked("bob"));
            assert_eq!(
                known.judge(away(), "eve", NOW + 59),
                unknown(),
                "never asked"
            );
            assert_eq!(known.judge(away(), "ann", NOW + 60), unknown());
            let back = known.judge(away(), "ann", NOW - 1);
            assert_eq!(back, unknown(), "the clock went back");
        }
        fs::write(folder.path().join("operators.json"), "{").unwrap();
        let damaged = Operators::open(folder.path(), 60);
        assert_eq!(damaged.judge(away(), "ann", NOW), unknown());
    }

    #[test]
    fn an_answer_that_cannot_be_kept_leaves_no_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 60);
        assert_eq!(known.judge(Ok(false), "ann", NOW), Ok(()));
        // Where the next one would be written.
        let in_the_way = folder.path().join("operators.partial");
        fs::create_dir(&in_the_way).unwrap();
        assert_eq!(known.judge(Ok(true), "ann", NOW + 1), revoked("ann"));
        let again = Operators::open(folder.path(), 60);
        assert_eq!(again.judge(away(), "ann", NOW + 2), unknown());
        fs::remove_dir(&in_the_way).unwrap();
        assert_eq!(known.judge(Ok(true), "ann", NOW + 3), revoked("ann"));
        let again = Operators::open(folder.path(), 60);
        assert_eq!(again.judge(away(), "ann", NOW + 4), revoked("ann"));
    }

    #[test]
    fn few_answers_are_kept_whoever_is_asked_about() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 60);
        let count = || known.known.lock().unwrap().len();
        let many = MAX_KNOWN as u64 + 5;
        for number in 0..many {
            // All within grace at the end.
            let (operator, at) = (format!("o{number}"), NOW + number * 50 / many);
            if count() < MAX_KNOWN {
                // Not on disk: a thousand flushes are slow.
                let answer = Answer {
                    at_s: at,
                    revoked: false,
                };
                known.known.lock().unwrap().insert(operator, answer);
            } else {
                known.judge(Ok(false), &operator, at).unwrap();
            }
        }
        assert_eq!(count(), MAX_KNOWN);
        assert_eq!(known.judge(away(), "o0", NOW + 50), unknown());
        let last = format!("o{}", many - 1);
        assert_eq!(known.judge(away(), &last, NOW + 50), Ok(()));
        assert_eq!(known.judge(Ok(false), "ann", NOW + 200), Ok(()));
        assert_eq!(count(), 1, "what is beyond the grace is of no use");
    }
}
