//! The connections to a vault: few, since a vault serves few, and kept for the next question.

use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Questions at once; further ones wait for their turn.
const MAX_TURNS: usize = 16;
/// Of these, questions that any stranger can cause: TLS handshakes. The rest is for those who were let in.
const MAX_HANDSHAKES: usize = 8;

/// What a question is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// A TLS handshake, with whomever.
    Handshake,
    /// A request, or the service itself.
    Request,
}

/// Idle connections, and how many questions are under way.
#[derive(Debug, Default)]
pub(super) struct Links {
    state: Mutex<State>,
    turn_ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    turns: usize,
    /// Of these.
    handshakes: usize,
    idle: Vec<UnixStream>,
}

/// Leave to ask one question, over one connection; ends when dropped.
#[derive(Debug)]
pub(super) struct Turn<'l> {
    links: &'l Links,
    cause: Cause,
}

impl Links {
    /// Waits for a turn; `None` if there was none within `patience`.
    pub(super) fn turn(&self, cause: Cause, patience: Duration) -> Option<Turn<'_>> {
        let taken = |state: &mut State| {
            state.turns >= MAX_TURNS
                || (cause == Cause::Handshake && state.handshakes >= MAX_HANDSHAKES)
        };
        let (mut state, waited) = self
            .turn_ended
            .wait_timeout_while(self.lock(), patience, taken)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        state.turns += 1;
        state.handshakes += usize::from(cause == Cause::Handshake);
        Some(Turn { links: self, cause })
    }

    /// An idle connection, if there is one.
    pub(super) fn take(&self) -> Option<UnixStream> {
        self.lock().idle.pop()
    }

    /// Keeps a connection for the next question.
    pub(super) fn keep(&self, link: UnixStream) {
        self.lock().idle.push(link);
    }

    /// Closes all idle connections.
    pub(super) fn clear(&self) {
        self.lock().idle.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.links.lock();
        state.turns -= 1;
        state.handshakes -= usize::from(self.cause == Cause::Handshake);
        drop(state);
        // Not all that wait can use every turn.
        self.links.turn_ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Cause, Links, MAX_HANDSHAKES, MAX_TURNS};

    #[test]
    fn turns_are_bounded_and_come_back() {
        let links = Links::default();
        let mut turns: Vec<_> = (0..MAX_TURNS)
            .map(|_| links.turn(Cause::Request, Duration::ZERO).unwrap())
            .collect();
        let soon = Duration::from_millis(1);
        assert!(links.turn(Cause::Request, soon).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                links
                    .turn(Cause::Request, Duration::from_secs(20))
                    .is_some()
            });
            turns.pop();
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn handshakes_leave_turns_for_those_who_were_let_in() {
        let links = Links::default();
        let mut turns: Vec<_> = (0..MAX_HANDSHAKES)
            .map(|_| links.turn(Cause::Handshake, Duration::ZERO).unwrap())
            .collect();
        assert!(
            links
                .turn(Cause::Handshake, Duration::from_millis(1))
                .is_none()
        );
        turns.push(links.turn(Cause::Request, Duration::ZERO).unwrap());
        drop(turns);
        links.turn(Cause::Handshake, Duration::ZERO).unwrap();
    }
}
