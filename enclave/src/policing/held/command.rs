//! Commands: each done once, kept, and answered for once devices do what it says.
//!
//! Known attack: whoever has devices' link broken has an operator told that a guest is cut off, while it goes on.

use std::num::NonZeroU64;

use bartizan_attestation::evidence::What as Happened;
use bartizan_policy::Authors;
use bartizan_stream::message::{CommandOutcome, Detail, Up};

use super::super::ahead::is_ahead;
use super::super::wishes::{Answer, KeptCommand, Then, Vm, What};
use super::{Held, Inner, Standing, Stream};
use crate::ruling::Ruling;
use crate::run::now_s;
use crate::sealed::{Command, State};

impl Held {
    /// Does a command that is about this VM. One that was done already is done again where its answer was lost: by then devices may have told
    /// this enclave otherwise.
    pub(in crate::policing) fn command(
        &self,
        (number, vm): (NonZeroU64, Vm),
        authors: &Authors,
        ruling: &Ruling,
        does: impl FnOnce() -> CommandOutcome,
    ) {
        let what = self.inner().command_done((number, vm), ruling, does);
        self.wish(what, authors, ruling);
    }

    /// Answers for the commands that devices have confirmed, and states that they have.
    pub(in crate::policing) fn settle(&self, ruling: &Ruling) {
        let mut inner = self.inner();
        let settling = std::mem::take(&mut inner.settling);
        for (vm, answer) in settling {
            let is_settled = ruling.decider().is_settled(vm);
            if !is_settled {
                inner.settling.push_back((vm, answer));
                continue;
            }
            if let Up::CommandDone { number, .. } = answer.up {
                inner.note_isolation(number, vm, ruling);
            }
            inner.answer(answer);
        }
    }
}

impl Inner {
    /// States once that an order is carried out.
    fn note_isolation(&mut self, order: NonZeroU64, vm: Vm, ruling: &Ruling) {
        if self.testified_order.replace(order) != Some(order) {
            ruling.witness().note(Happened::Isolation {
                vm,
                isolated: ruling.isolated_vms().contains(&vm),
                order,
            });
        }
    }

    /// What is wished for a command, which is done here.
    fn command_done(
        &mut self,
        (number, vm): (NonZeroU64, Vm),
        ruling: &Ruling,
        does: impl FnOnce() -> CommandOutcome,
    ) -> What {
        let failed = |why| What::Say(done(number, CommandOutcome::Failed, why));
        let outcome = match self.command {
            Some(last) if number == last.number && last.outcome == CommandOutcome::Done => {
                // That the guest has ended since changes nothing of it.
                let _again = does();
                last.outcome
            }
            Some(last) if number == last.number => {
                return What::Say(done(number, last.outcome, ""));
            }
            // An older one was answered, or was never to be done by this machine.
            Some(last) if number < last.number => {
                return failed("a later command was taken before");
            }
            // It would be the last one for ever.
            _ if is_ahead(number, now_s()) => {
                return failed("it is numbered ahead of this machine's clock");
            }
            _ if matches!(self.standing, Standing::Lost(_)) => {
                return failed("this enclave's state is lost");
            }
            _ => does(),
        };
        let command = Command { number, outcome };
        self.command = Some(command);
        What::Keep(KeptCommand {
            command,
            vm,
            isolated: ruling.isolated_vms(),
        })
    }

    pub(super) fn keep_command(&mut self, stream: Stream, kept: KeptCommand) {
        let KeptCommand {
            command: Command { number, outcome },
            vm,
            isolated,
        } = kept;
        let begun = match (self.state(), &mut self.standing) {
            (Some(state), Standing::Kept(standing)) => {
                let state = State {
                    command: Some(kept.command),
                    isolated,
                    ..state
                };
                standing.begin(state).is_ok()
            }
            _ => false,
        };
        let up = |outcome| Answer {
            stream,
            up: done(number, outcome, ""),
        };
        match begun {
            true if outcome == CommandOutcome::Done => {
                self.then = Some(Then::Settles(vm, up(outcome)));
            }
            true => self.then = Some(Then::Answers(up(outcome))),
            false => {
                let outcome = CommandOutcome::Failed;
                self.command = Some(Command { number, outcome });
                self.answer(up(outcome));
            }
        }
    }
}

fn done(number: NonZeroU64, outcome: CommandOutcome, why: &str) -> Up {
    Up::CommandDone {
        number,
        outcome,
        detail: Detail::cut(why),
    }
}
