//! The connections to a vault: few, since a vault serves few, and kept for the next question.

use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Questions at once; further ones wait for their turn.
const MAX_TURNS: usize = 16;

/// Idle connections, and how many questions are under way.
#[derive(Debug, Default)]
pub(super) struct Links {
    state: Mutex<State>,
    turn_ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    turns: usize,
    idle: Vec<UnixStream>,
}

/// Leave to ask one question, over one connection; ends when dropped.
#[derive(Debug)]
pub(super) struct Turn<'l>(&'l Links);

impl Links {
    /// Waits for a turn; `None` if there was none within `patience`.
    pub(super) fn turn(&self, patience: Duration) -> Option<Turn<'_>> {
        let (mut state, waited) = self
            .turn_ended
            .wait_timeout_while(self.lock(), patience, |state| state.turns >= MAX_TURNS)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        state.turns += 1;
        Some(Turn(self))
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
        self.0.lock().turns -= 1;
        self.0.turn_ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Links, MAX_TURNS};

    #[test]
    fn turns_are_bounded_and_come_back() {
        let links = Links::default();
        let mut turns: Vec<_> = (0..MAX_TURNS)
            .map(|_| links.turn(Duration::ZERO).unwrap())
            .collect();
        assert!(links.turn(Duration::from_millis(1)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| links.turn(Duration::from_secs(20)).is_some());
            turns.pop();
            assert!(waiting.join().unwrap());
        });
    }
}
