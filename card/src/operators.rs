//! Whether an operator is revoked: asked of the verifier at each launch, so that what they signed is launched no more.
//! Guests that run go on.
//!
//! While the verifier is away, nothing is launched; or, for as long as the configuration grants, what is allowed by the
//! answer that it gave last on the same operator. Those answers are on disk: a card that starts anew knows them. An answer
//! that is not understood, or too large, is no absence but a refusal, and so are the card's own congestion and its vault's silence.
//!
//! Known attack: whoever is on the way holds an answer up, until the operator is revoked and that is known here. So an answer holds for
//! when it was asked for, and where two questions were under way at once, the one that was told of a revocation counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_attestation::host::CardRefusal;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::verifier::Verifier;

/// Most operators of whom an answer is kept; of more, the oldest answers are forgotten.
const MAX_KNOWN: usize = 1024;
/// No question takes longer, its turn included.
const LONGEST: Duration = Duration::from_secs(60);

/// What is known of operators.
#[derive(Debug)]
pub struct Operators {
    file: PathBuf,
    grace_s: u64,
    moments: AtomicU64,
    known: Mutex<BTreeMap<String, Answer>>,
}

/// A moment of this card's life: the clock may be set, the number only goes up.
#[derive(Clone, Copy, Debug)]
struct Moment {
    number: u64,
    at_s: u64,
}

/// The verifier's last answer on an operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// What it holds for, in seconds since the Unix epoch.
    at_s: u64,
    revoked: bool,
    /// The same moment's number; of an answer to a former card 0, which is before all of this one's.
    #[serde(skip)]
    number: u64,
    /// When it came, if that was to this card.
    #[serde(skip)]
    came: Option<Instant>,
}

impl Answer {
    /// Whether a question may be on its way that was asked before it came: it counts against that one's answer, whatever the grace.
    fn is_fresh(&self) -> bool {
        self.came.is_some_and(|came| came.elapsed() < LONGEST)
    }
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
            moments: AtomicU64::new(0),
            known: Mutex::new(known.unwrap_or_default()),
        }
    }

    /// Refuses a launch that `operator` signed, where it is revoked or that cannot be learnt.
    pub async fn check(&self, verifier: &Verifier, operator: &str) -> Result<(), CardRefusal> {
        let asked = self.moment(crate::unix_now());
        let answer = verifier.is_revoked(operator).await;
        // The answer is flushed to the disk.
        tokio::task::block_in_place(|| self.judge(answer, operator, asked, crate::unix_now()))
    }

    fn moment(&self, at_s: u64) -> Moment {
        let number = self.moments.fetch_add(1, Ordering::Relaxed) + 1;
        Moment { number, at_s }
    }

    fn judge(
        &self,
        answer: Result<bool, CardRefusal>,
        operator: &str,
        asked: Moment,
        now_s: u64,
    ) -> Result<(), CardRefusal> {
        let revoked = match answer {
            Ok(revoked) => self.keep(operator, revoked, asked, now_s),
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

    /// Keeps an answer, unless a later one is known; answers what counts.
    fn keep(&self, operator: &str, revoked: bool, asked: Moment, now_s: u64) -> bool {
        // When the verifier said it is unknown: between these two. Each is taken for the one that launches less.
        let Moment { number, at_s } = if revoked { self.moment(now_s) } else { asked };
        let answer = Answer {
            at_s,
            revoked,
            number,
            came: Some(Instant::now()),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(later) = known.get(operator).filter(|other| other.number > number) {
            return later.revoked;
        }
        known.insert(operator.to_owned(), answer);
        known.retain(|_, answer| self.is_within_grace(answer, now_s) || answer.is_fresh());
        while known.len() > MAX_KNOWN {
            let age = |(_, answer): &(&String, &Answer)| (answer.number, answer.at_s);
            let oldest = known.iter().min_by_key(age);
            let Some(oldest) = oldest.map(|(operator, _)| operator.clone()) else {
                break;
            };
            known.remove(&oldest);
        }
        // Under the lock: of two answers, the later one is on disk.
        if let Err(error) = self.write(&known, now_s) {
            let file = self.file.display();
            tracing::warn!(%file, %error, "what is known of operators is not kept");
            // An older answer would let a card that starts anew launch more: without any it launches less.
            if let Err(error) = durable::remove(&self.file) {
                tracing::error!(%file, %error, "older answers on operators stay on disk; remove the file");
            }
        }
        revoked
    }

    fn write(&self, known: &BTreeMap<String, Answer>, now_s: u64) -> std::io::Result<()> {
        let known = known.iter();
        let granted: BTreeMap<_, _> = known
            .filter(|(_, answer)| self.is_within_grace(answer, now_s))
            .collect();
        durable::replace(&self.file, &serde_json::to_vec(&granted)?)
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

    /// As for a launch at that time, whose question is answered at once.
    fn judge(
        known: &Operators,
        answer: Result<bool, CardRefusal>,
        operator: &str,
        at_s: u64,
    ) -> Result<(), CardRefusal> {
        known.judge(answer, operator, known.moment(at_s), at_s)
    }

    #[test]
    fn the_verifier_is_believed_at_each_launch() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 0);
        assert_eq!(judge(&known, Ok(false), "ann", NOW), Ok(()));
        assert_eq!(judge(&known, Ok(true), "ann", NOW), revoked("ann"));
        assert_eq!(judge(&known, Ok(false), "ann", NOW), Ok(()));
    }

    #[test]
    fn nothing_is_launched_while_the_verifier_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 0);
        assert_eq!(judge(&known, Ok(false), "ann", NOW), Ok(()));
        assert_eq!(judge(&known, away(), "ann", NOW), unknown());
    }

    #[test]
    fn an_answer_that_is_none_is_no_absence() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 60);
        assert_eq!(judge(&known, Ok(false), "ann", NOW), Ok(()));
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
            let judged = judge(&known, Err(refusal.clone()), "ann", NOW);
            assert_eq!(judged, Err(refusal));
        }
    }

    #[test]
    fn a_grace_is_granted_on_the_last_answer_and_outlives_the_card() {
        let folder = tempfile::tempdir().unwrap();
        let first = Operators::open(folder.path(), 60);
        assert_eq!(
            judge(&first, away(), "ann", NOW),
            unknown(),
            "no answer yet"
        );
        assert_eq!(judge(&first, Ok(false), "ann", NOW), Ok(()));
        assert_eq!(judge(&first, Ok(true), "bob", NOW), revoked("bob"));
        let again = Operators::open(folder.path(), 60);
        for known in [&first, &again] {
            assert_eq!(judge(known, away(), "ann", NOW + 59), Ok(()));
            assert_eq!(judge(known, away(), "bob", NOW + 59), revoked("bob"));
            assert_eq!(
                judge(known, away(), "eve", NOW + 59),
                unknown(),
                "never asked"
            );
            assert_eq!(judge(known, away(), "ann", NOW + 60), unknown());
            let back = judge(known, away(), "ann", NOW - 1);
            assert_eq!(back, unknown(), "the clock went back");
        }
        fs::write(folder.path().join("operators.json"), "{").unwrap();
        let damaged = Operators::open(folder.path(), 60);
        assert_eq!(judge(&damaged, away(), "ann", NOW), unknown());
    }

    /// Known attack: it is held up on the way, and let through once the revocation is known.
    #[test]
    fn an_answer_that_comes_late_takes_no_revocation_back() {
        let folder = tempfile::tempdir().unwrap();
        // Without any grace nothing is on disk.
        let strict = Operators::open(folder.path(), 0);
        let held_up = strict.moment(NOW);
        assert_eq!(judge(&strict, Ok(true), "ann", NOW + 5), revoked("ann"));
        let late = strict.judge(Ok(false), "ann", held_up, NOW + 19);
        assert_eq!(late, revoked("ann"));
        assert_eq!(judge(&strict, away(), "ann", NOW + 20), unknown());

        let known = Operators::open(folder.path(), 60);
        let held_up = known.moment(NOW);
        assert_eq!(judge(&known, Ok(true), "ann", NOW + 5), revoked("ann"));
        let late = known.judge(Ok(false), "ann", held_up, NOW + 19);
        assert_eq!(late, revoked("ann"));
        let again = Operators::open(folder.path(), 60);
        for known in [&known, &again] {
            assert_eq!(judge(known, away(), "ann", NOW + 20), revoked("ann"));
        }
        // Who asks after that is told the truth.
        assert_eq!(judge(&known, Ok(false), "ann", NOW + 21), Ok(()));
        assert_eq!(judge(&known, away(), "ann", NOW + 22), Ok(()));
    }

    /// Which of the two the verifier answered first is not known.
    #[test]
    fn of_two_questions_at_once_the_one_that_was_told_of_a_revocation_counts() {
        for told_first in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let known = Operators::open(folder.path(), 60);
            let (first, second) = (known.moment(NOW), known.moment(NOW + 1));
            if told_first {
                let judged = known.judge(Ok(true), "ann", first, NOW + 2);
                assert_eq!(judged, revoked("ann"));
                let judged = known.judge(Ok(false), "ann", second, NOW + 3);
                assert_eq!(judged, revoked("ann"));
            } else {
                let judged = known.judge(Ok(false), "ann", second, NOW + 2);
                assert_eq!(judged, Ok(()));
                let judged = known.judge(Ok(true), "ann", first, NOW + 3);
                assert_eq!(judged, revoked("ann"));
            }
            assert_eq!(judge(&known, away(), "ann", NOW + 4), revoked("ann"));
        }
    }

    #[test]
    fn the_grace_counts_from_when_it_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 60);
        let (first, second) = (known.moment(NOW), known.moment(NOW + 10));
        assert_eq!(known.judge(Ok(false), "ann", second, NOW + 15), Ok(()));
        assert_eq!(known.judge(Ok(false), "ann", first, NOW + 20), Ok(()));
        assert_eq!(judge(&known, away(), "ann", NOW + 69), Ok(()));
        assert_eq!(judge(&known, away(), "ann", NOW + 70), unknown());
    }

    #[test]
    fn an_answer_that_cannot_be_kept_leaves_no_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let known = Operators::open(folder.path(), 60);
        assert_eq!(judge(&known, Ok(false), "ann", NOW), Ok(()));
        // Where the next one would be written.
        let in_the_way = folder.path().join("operators.json.partial");
        fs::create_dir(&in_the_way).unwrap();
        assert_eq!(judge(&known, Ok(true), "ann", NOW + 1), revoked("ann"));
        let again = Operators::open(folder.path(), 60);
        assert_eq!(judge(&again, away(), "ann", NOW + 2), unknown());
        fs::remove_dir(&in_the_way).unwrap();
        assert_eq!(judge(&known, Ok(true), "ann", NOW + 3), revoked("ann"));
        let again = Operators::open(folder.path(), 60);
        assert_eq!(judge(&again, away(), "ann", NOW + 4), revoked("ann"));
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
                    number: known.moment(at).number,
                    came: None,
                };
                known.known.lock().unwrap().insert(operator, answer);
            } else {
                judge(&known, Ok(false), &operator, at).unwrap();
            }
        }
        assert_eq!(count(), MAX_KNOWN);
        assert_eq!(judge(&known, away(), "o0", NOW + 50), unknown());
        let last = format!("o{}", many - 1);
        assert_eq!(judge(&known, away(), &last, NOW + 50), Ok(()));
        assert_eq!(judge(&known, Ok(false), "ann", NOW + 200), Ok(()));
        let kept = fs::read(&known.file).unwrap();
        let kept: BTreeMap<String, Answer> = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept.len(), 1, "what is beyond the grace is of no use");
        assert!(count() <= 1 + 5, "but against questions under way");
    }
}
