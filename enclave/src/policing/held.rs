//! What outlasts a connection to the verifier: the set that rules, what was seen of policies, the last command.
//!
//! A set and a command are *wishes* until the card has kept what comes of them: only then is a set put in force, and either answered for. So
//! nothing that was acknowledged is forgotten when this machine ends.

mod command;
mod evidence;

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::evidence::What as Happened;
use bartizan_attestation::host::StoredState;
use bartizan_attestation::identity::CardId;
use bartizan_policy::{Authors, Origin};
use bartizan_stream::message::{
    self, Detail, GuestPolicies, GuestPolicy, HeldSet, Hello, Source, Up,
};
use bartizan_stream::resume::Outbox;
use tokio::sync::watch;

use super::ahead::is_ahead;
use super::taking::{Refused, Taken, authenticate};
use super::wishes::{Answer, Then, Vm, What, Wish};
use crate::ruling::Ruling;
use crate::run::now_s;
use crate::sealed::{Command, Due, EVIDENCE_LIMITS, Kept, Loss, State};
use crate::witness::short;

/// Most wishes and answers that wait: while there are so many, the verifier is not listened to.
const MAX_WAITING: usize = 16;
/// Of these, most sets: each may be as large as any may be. So many the verifier leaves unanswered on a stream.
const MAX_SETS: usize = 4;

/// What this enclave holds.
#[derive(Debug)]
pub struct Held {
    source: Source,
    inner: Mutex<Inner>,
    /// Counts what has changed.
    changes: watch::Sender<u64>,
}

/// Which stream to the verifier, by count.
pub(super) type Stream = u64;

#[derive(Debug)]
struct Inner {
    standing: Standing,
    /// The set that rules here.
    ruling: Option<(HeldSet, Vec<Origin>)>,
    /// The set of which the verifier was told last that it is in force.
    told: Option<HeldSet>,
    /// The set of which evidence says that it is in force.
    testified: Option<HeldSet>,
    /// The last order of which evidence says that it is carried out.
    testified_order: Option<NonZeroU64>,
    /// The set of which it waits to be told so.
    owed: Option<HeldSet>,
    /// The last command that was done. It may not be kept yet.
    command: Option<Command>,
    stream: Stream,
    wishes: VecDeque<Wish>,
    /// What is done once what is being stored is kept.
    then: Option<Then>,
    answers: VecDeque<Up>,
    /// Answers for commands that are kept, each until devices have confirmed what it did to this VM.
    settling: VecDeque<(Vm, Answer)>,
    /// Evidence that the verifier is not known to have. It is kept.
    outbox: Outbox,
    /// Another enclave of this host has the state.
    superseded: bool,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            standing: Standing::default(),
            ruling: None,
            told: None,
            testified: None,
            testified_order: None,
            owed: None,
            command: None,
            stream: 0,
            wishes: VecDeque::new(),
            then: None,
            answers: VecDeque::new(),
            settling: VecDeque::new(),
            outbox: Outbox::new(EVIDENCE_LIMITS),
            superseded: false,
        }
    }
}

/// What is known of the state of before.
#[derive(Debug, Default)]
enum Standing {
    /// Nothing yet.
    #[default]
    Unknown,
    /// That it is lost: nothing rules, and nothing is taken.
    Lost(String),
    /// All.
    Kept(Box<Kept>),
}

impl Held {
    /// Nothing, and nothing is taken before [`Held::restore`]; `source` was never anybody's before.
    #[must_use]
    pub fn new(source: [u8; 16]) -> Self {
        Self {
            source: Source(source),
            inner: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Takes what the card has kept. The set of it rules at once if those who may have signed it, which is judged anew; what was seen of
    /// policies binds in any case.
    ///
    /// # Errors
    /// There was a state, and it is lost: until an operator has it reset, nothing rules.
    pub fn restore(
        &self,
        card: CardId,
        stored: StoredState,
        authors: &Authors,
        ruling: &Ruling,
    ) -> Result<(), Loss> {
        let kept = Kept::restore(card, stored, self.source);
        let mut inner = self.inner();
        let kept = match kept {
            Ok(kept) => kept,
            Err(loss) => {
                inner.standing = Standing::Lost(loss.to_string());
                drop(inner);
                self.changed();
                return Err(loss);
            }
        };
        let state = kept.state();
        ruling.isolated_before(&state.isolated);
        inner.command = state.command;
        if let Some(set) = &state.set {
            match authenticate(set, authors, &state.seen) {
                Ok(authentic) => {
                    tracing::info!(set = set.number(), "the policies of before rule");
                    inner.rules(set.number(), &authentic, ruling);
                }
                Err(Refused { detail, .. }) => {
                    let set = set.number();
                    tracing::error!(set, detail, "the policies of before are refused");
                }
            }
        }
        ruling.witness().note(Happened::Started {
            set: inner.ruling.as_ref().map(|(held, _)| held.number),
        });
        inner.outbox = kept.outbox();
        inner.standing = Standing::Kept(Box::new(kept));
        // A stream that was told otherwise begins anew.
        inner.stream += 1;
        inner.go_on(authors, ruling);
        drop(inner);
        self.changed();
        Ok(())
    }

    /// Whether it is known what there was before: else the card is to be asked.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.inner().standing, Standing::Unknown)
    }

    /// Whether there is a state to go on from.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self.inner().standing, Standing::Kept(_))
    }

    /// What the card is to keep now.
    #[must_use]
    pub fn due(&self) -> Option<Due> {
        match &self.inner().standing {
            Standing::Kept(kept) => kept.due(),
            _ => None,
        }
    }

    /// The card has kept what was due under this number: what waited for that is done.
    pub fn stored(&self, number: u64, authors: &Authors, ruling: &Ruling) {
        let mut inner = self.inner();
        let stored = match &mut inner.standing {
            Standing::Kept(kept) => kept.stored(number),
            _ => false,
        };
        if stored {
            match inner.then.take() {
                Some(Then::Rules(stream, taken)) => {
                    let held = inner.rules(taken.number, &taken.authentic, ruling);
                    inner.owe(stream, held);
                }
                Some(Then::Sends(pieces)) => inner.sends(pieces),
                Some(Then::Answers(answer)) => inner.answer(answer),
                Some(Then::Settles(vm, answer)) => inner.settling.push_back((vm, answer)),
                None => {}
            }
            inner.go_on(authors, ruling);
        }
        drop(inner);
        self.changed();
    }

    /// Another enclave of this host has the state: this one is to end.
    pub fn supersede(&self) {
        self.inner().superseded = true;
        self.changed();
    }

    /// Returns once another enclave has the state.
    pub async fn superseded(&self) {
        let mut changes = self.changes();
        while !self.inner().superseded {
            // INVARIANT: the sender is this one's.
            let _always = changes.changed().await;
        }
    }

    /// Tells of whatever changes here, from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Begins a stream: answers to what another one heard are not for it.
    pub(super) fn hello(&self) -> (Hello, Stream) {
        let mut inner = self.inner();
        inner.stream += 1;
        inner.owed = None;
        inner.answers.clear();
        inner.settling.clear();
        // Of the sets that were offered before and wait, the two newest are as good as all, each once: should the one be refused, the other
        // rules, and those before it could not for long.
        let offered: BTreeSet<_> = inner.wishes.iter().filter_map(Wish::set).collect();
        let mut kept: BTreeSet<_> = offered.into_iter().rev().take(2).collect();
        inner
            .wishes
            .retain(|wish| wish.set().is_none_or(|set| kept.remove(&set)));
        let (source, command) = match &inner.standing {
            Standing::Kept(kept) => (kept.state().source, kept.state().command),
            _ => (self.source, None),
        };
        let hello = Hello {
            source,
            span: inner.outbox.span(),
            in_force: inner.told,
            last_command: command.map_or(0, |command| command.number.get()),
        };
        (hello, inner.stream)
    }

    /// Whether that stream is to end, since what it was told is not so any more.
    pub(super) fn is_over(&self, stream: Stream) -> bool {
        self.inner().stream != stream
    }

    /// Whether more may be heard.
    pub(super) fn has_room(&self) -> bool {
        let inner = self.inner();
        inner.wishes.iter().filter_map(Wish::set).count() < MAX_SETS
            && inner.wishes.len() + inner.answers.len() + inner.settling.len() < MAX_WAITING
    }

    /// The next answer to what was heard.
    pub(super) fn answer(&self) -> Option<Up> {
        self.inner().answers.pop_front()
    }

    /// A set is to be in force.
    pub(crate) fn take(&self, offered: message::PolicySet, authors: &Authors, ruling: &Ruling) {
        self.wish(What::Rule(offered), authors, ruling);
    }

    /// What the verifier is to be told of the set that rules, once devices judge by this one.
    pub(super) fn in_force_since(&self, confirmed: u64, ruling: &Ruling) -> Option<Up> {
        let mut inner = self.inner();
        let (set, origins) = inner.ruling.as_ref()?;
        if confirmed < set.number.get() || inner.owed != Some(*set) {
            return None;
        }
        let set = *set;
        let decider = ruling.decider();
        let guests = decider.ruled().map(|(boot, places)| GuestPolicy {
            guest: message::Guest {
                vm: boot.vm,
                boot: boot.boot,
            },
            digest: digest(origins, &places),
        });
        // More guests than can be told of are in force all the same.
        let guests = guests.take(bartizan_stream::limits::MAX_GUESTS).collect();
        let guests = GuestPolicies::new(guests).unwrap_or_default();
        (inner.told, inner.owed) = (Some(set), None);
        Some(Up::PolicyInForce { set, guests })
    }

    fn wish(&self, what: What, authors: &Authors, ruling: &Ruling) {
        let mut inner = self.inner();
        let stream = inner.stream;
        inner.wishes.push_back(Wish { stream, what });
        inner.go_on(authors, ruling);
        drop(inner);
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Begins with what waits, until something is to be kept.
    fn go_on(&mut self, authors: &Authors, ruling: &Ruling) {
        loop {
            let free = match &self.standing {
                Standing::Unknown => false,
                Standing::Lost(_) => true,
                Standing::Kept(kept) => !kept.is_storing(),
            };
            let Some(Wish { stream, what }) = free.then(|| self.wishes.pop_front()).flatten()
            else {
                return;
            };
            match what {
                What::Say(up) => self.answer(Answer { stream, up }),
                What::Keep(kept) => self.keep_command(stream, kept),
                What::Rule(offered) => {
                    let number = offered.number();
                    if let Err(Refused { reason, detail }) =
                        self.keep_set(stream, offered, authors, ruling)
                    {
                        tracing::error!(
                            set = number,
                            detail,
                            "policies are refused; what ruled rules on"
                        );
                        ruling.witness().note(Happened::SetRefused {
                            set: number,
                            why: short(&detail),
                        });
                        let up = Up::PolicyRefused {
                            number,
                            reason,
                            detail: Detail::cut(&detail),
                        };
                        self.answer(Answer { stream, up });
                    }
                }
            }
        }
    }

    fn keep_set(
        &mut self,
        stream: Stream,
        offered: message::PolicySet,
        authors: &Authors,
        ruling: &Ruling,
    ) -> Result<(), Refused> {
        let state = self.state();
        let kept = match &mut self.standing {
            Standing::Kept(kept) => kept,
            Standing::Lost(why) => return Err(Refused::lost(why)),
            Standing::Unknown => return Err(Refused::lost("nothing is known of it yet")),
        };
        let number = offered.number();
        if is_ahead(number, now_s()) {
            return Err(Refused::ahead(number));
        }
        let rules = self.ruling.as_ref().map(|(held, _)| *held);
        let Some(taken) = Taken::of(&offered, kept.state(), rules, authors, ruling)? else {
            // It rules already.
            if let Some(held) = rules {
                self.owe(stream, held);
            }
            return Ok(());
        };
        let state = State {
            seen: taken.authentic.seen().clone(),
            set: Some(offered),
            ..state.unwrap_or_else(|| kept.state().clone())
        };
        kept.begin(state).map_err(|error| Refused::failed(&error))?;
        self.then = Some(Then::Rules(stream, taken));
        Ok(())
    }

    /// Puts a set in force.
    fn rules(
        &mut self,
        number: NonZeroU64,
        authentic: &bartizan_policy::AuthenticSet,
        ruling: &Ruling,
    ) -> HeldSet {
        ruling.rule(number.get(), Arc::clone(authentic.policies()));
        let digest = *authentic.digest();
        let held = HeldSet { number, digest };
        self.ruling = Some((held, authentic.origins().to_vec()));
        tracing::info!(
            set = number,
            policies = authentic.policies().len(),
            "policies rule"
        );
        held
    }

    /// The verifier waits to be told that this set is in force.
    fn owe(&mut self, stream: Stream, held: HeldSet) {
        if stream == self.stream {
            self.owed = Some(held);
        }
    }

    fn answer(&mut self, answer: Answer) {
        if answer.stream == self.stream {
            self.answers.push_back(answer.up);
        }
    }
}

/// SHA-384 over those of the texts of a guest's policies, in the set's order.
fn digest(origins: &[Origin], places: &[usize]) -> [u8; 48] {
    let chosen = places.iter().filter_map(|place| origins.get(*place));
    let bytes: Vec<u8> = chosen.flat_map(|origin| origin.issue.digest).collect();
    Sha384::of(&bytes).0
}
