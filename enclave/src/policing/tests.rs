use std::num::NonZeroU64;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::host::StoredState;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::keys::{StateKey, StateRecord};
use bartizan_policy::{Author, AuthorKey, Format, sign_policy};
use bartizan_stream::Bytes;
use bartizan_stream::message::{Hello, PolicySet, RefusalReason, Up};
use serde_json::json;

use super::*;
use crate::deciding::Decider;
use crate::sealed::{Due, Loss};

fn fresh() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

fn text(name: &str, serial: u64) -> String {
    json!({
        "version": 1, "name": name, "serial": serial,
        "rules": [{ "name": "all", "effect": "allow", "network": {} }],
    })
    .to_string()
}

fn signed(key: &EphemeralKey, text: &str) -> Vec<u8> {
    sign_policy(text, Format::Json, &key.public_key(), key).unwrap()
}

fn authors(key: &EphemeralKey) -> Authors {
    let scope = json!({ "policies": ["*"], "kinds": ["network"], "highest_priority": 0 });
    let author = Author {
        name: "ann".into(),
        key: AuthorKey::new(key.public_key()).unwrap(),
        scope: serde_json::from_value(scope).unwrap(),
    };
    Authors::new(vec![author]).unwrap()
}

fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

fn set(of: u64, signed: &[Vec<u8>]) -> PolicySet {
    let signed = signed.iter().map(|signed| Bytes::from(signed.clone()));
    PolicySet::new(number(of), signed.collect()).unwrap()
}

struct Rig {
    key: EphemeralKey,
    authors: Authors,
    ruling: Ruling,
    held: Held,
    card: Kept,
}

/// What card and vault have.
#[derive(Clone, Default)]
struct Kept {
    record: Option<StateRecord>,
    sealed: Option<Vec<u8>>,
    is_away: bool,
}

/// Which commands are about.
const VM: [u8; 16] = [4; 16];

const CARD: CardId = CardId([5; 32]);

impl Rig {
    /// An enclave that starts for the first time.
    fn new() -> Self {
        let key = EphemeralKey::generate().unwrap();
        Self::started(authors(&key), key, Kept::default())
    }

    /// An enclave that starts with what the card has kept.
    fn started(authors: Authors, key: EphemeralKey, card: Kept) -> Self {
        let rig = Self {
            authors,
            key,
            ruling: Ruling::default(),
            held: Held::new(fresh()),
            card,
        };
        // Nobody runs, and devices are there.
        rig.ruling.change(|decider| {
            decider.only(|_| true);
            decider.devices_come();
        });
        let _lost = rig.load();
        rig
    }

    fn load(&self) -> Result<(), Loss> {
        let stored = StoredState {
            key: StateKey::new([7; 32]),
            record: self.card.record,
            sealed: self.card.sealed.clone().map(Into::into),
        };
        self.held.restore(CARD, stored, &self.authors, &self.ruling)
    }

    /// The same enclave, started again.
    fn restart(self) -> Self {
        let card = Kept {
            is_away: false,
            ..self.card
        };
        Self::started(self.authors, self.key, card)
    }

    /// The card keeps what is due, if it is there.
    fn keep(&mut self) {
        while let Some(Due { number, sealed }) = self.held.due() {
            if self.card.is_away {
                return;
            }
            let digest = Sha384::of(&sealed);
            self.card.record = Some(StateRecord { number, digest });
            self.card.sealed = Some(sealed);
            self.held.stored(number, &self.authors, &self.ruling);
        }
    }

    /// Offers a set.
    fn offer(&self, set: &PolicySet) {
        self.held.take(set.clone(), &self.authors, &self.ruling);
    }

    /// Offers a set, and has the card keep it.
    fn take(&mut self, set: &PolicySet) -> Result<(), RefusalReason> {
        self.offer(set);
        self.keep();
        match self.held.answer() {
            None => Ok(()),
            Some(Up::PolicyRefused { reason, number, .. }) => {
                assert_eq!(number, set.number());
                Err(reason)
            }
            other => panic!("{other:?}"),
        }
    }

    fn hello(&self) -> Hello {
        self.held.hello().0
    }

    /// Has a command done that comes to this; whether it was, and the answer, if there is one.
    fn command(&mut self, of: u64, outcome: CommandOutcome) -> (bool, Option<CommandOutcome>) {
        let mut done = false;
        let does = || {
            done = true;
            outcome
        };
        let command = (number(of), VM);
        self.held
            .command(command, &self.authors, &self.ruling, does);
        self.keep();
        (done, self.answered(of))
    }

    /// What is answered for a command, if it is by now.
    fn answered(&self, of: u64) -> Option<CommandOutcome> {
        self.held.settle(&self.ruling);
        let answer = self.held.answer()?;
        match answer {
            Up::CommandDone {
                number: answered,
                outcome,
                ..
            } => {
                assert_eq!(answered, number(of));
                Some(outcome)
            }
            other => panic!("{other:?}"),
        }
    }

    fn rules(&self) -> u64 {
        self.ruling.decider().set()
    }
}

#[test]
fn a_set_rules_and_is_acknowledged_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.held.in_force_since(0, &rig.ruling), None);
    let first = set(3, &[signed(&rig.key, &text("web", 1))]);
    rig.take(&first).unwrap();
    assert_eq!(rig.rules(), 3);
    assert_eq!(
        rig.held.in_force_since(2, &rig.ruling),
        None,
        "devices judge by another still"
    );
    let Some(Up::PolicyInForce { set: told, .. }) = rig.held.in_force_since(3, &rig.ruling) else {
        panic!("nothing is acknowledged");
    };
    assert_eq!(told.number, number(3));
    assert_eq!(rig.held.in_force_since(3, &rig.ruling), None);
    assert_eq!(rig.hello().in_force, Some(told));
    // Another signature of the same text is another set.
    let other_signature = set(3, &[signed(&rig.key, &text("web", 1))]);
    assert_eq!(rig.take(&other_signature), Err(RefusalReason::Rollback));
}

#[test]
fn the_same_set_is_taken_again_and_an_older_one_is_not() {
    let mut rig = Rig::new();
    let policies = [signed(&rig.key, &text("web", 7))];
    rig.take(&set(5, &policies)).unwrap();
    rig.take(&set(5, &policies)).unwrap();
    // Known attack: the verifier, or who has its database, puts back what was in force once.
    assert_eq!(rig.take(&set(4, &policies)), Err(RefusalReason::Rollback));
    assert_eq!(rig.take(&set(5, &[])), Err(RefusalReason::Rollback));
    // The same under a number that is newer, and with the policy away in between.
    let older = [signed(&rig.key, &text("web", 6))];
    assert_eq!(rig.take(&set(6, &older)), Err(RefusalReason::Rollback));
    rig.take(&set(7, &[])).unwrap();
    assert_eq!(rig.take(&set(8, &older)), Err(RefusalReason::Rollback));
    assert_eq!(rig.rules(), 7);
}

#[test]
fn what_no_author_signed_so_is_refused_and_what_ruled_rules_on() {
    let mut rig = Rig::new();
    let first = set(1, &[signed(&rig.key, &text("web", 1))]);
    rig.take(&first).unwrap();
    let stranger = EphemeralKey::generate().unwrap();
    let invented = signed(&stranger, &text("web", 2));
    let mut edited = signed(&rig.key, &text("web", 2));
    let at = edited
        .windows(5)
        .position(|bytes| bytes == b"allow")
        .unwrap();
    edited[at] ^= 1;
    let of_files = text("web", 2).replace("network", "file");
    let outside = signed(&rig.key, &of_files);
    for refused in [invented, edited, outside] {
        let good = signed(&rig.key, &text("other", 1));
        let offered = set(2, &[good, refused]);
        assert_eq!(rig.take(&offered), Err(RefusalReason::Author));
    }
    assert_eq!(
        rig.take(&set(2, &[vec![0xff]])),
        Err(RefusalReason::Malformed)
    );
    assert_eq!(rig.rules(), 1);
}

/// Known attack: a verifier that was taken over for a moment leaves a number behind that no other comes after.
#[test]
fn a_number_that_no_verifier_has_come_to_is_not_taken() {
    let mut rig = Rig::new();
    let policies = [signed(&rig.key, &text("web", 1))];
    let now = crate::run::now_s();
    for ahead in [u64::MAX, now + 2 * 3600] {
        assert_eq!(rig.take(&set(ahead, &policies)), Err(RefusalReason::Failed));
        let not_done = (false, Some(CommandOutcome::Failed));
        assert_eq!(rig.command(ahead, CommandOutcome::Done), not_done);
    }
    assert_eq!(rig.rules(), 0);
    assert_eq!(rig.hello().last_command, 0);
    rig.take(&set(now + 60, &policies)).unwrap();
    assert_eq!(rig.rules(), now + 60);
}

#[test]
fn a_command_that_is_sent_again_comes_to_the_same() {
    use CommandOutcome::{Done, Failed, NoGuest};
    let mut rig = Rig::new();
    assert_eq!(rig.command(4, Done), (true, Some(Done)));
    assert_eq!(rig.command(4, Failed), (true, Some(Done)));
    assert_eq!(rig.command(3, Done), (false, Some(Failed)));
    assert_eq!(rig.command(5, NoGuest), (true, Some(NoGuest)));
    assert_eq!(rig.command(5, Done), (false, Some(NoGuest)));
    assert_eq!(rig.hello().last_command, 5);
}

mod evidence;
mod restarts;
mod serving;
mod settling;
