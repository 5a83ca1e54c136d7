//! Connections that wait for their next request.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_channel::https::Connection;

/// How long an idle connection is trusted to be alive.
const MAX_IDLE_TIME: Duration = Duration::from_secs(20);

/// Which of the host's TLS identities a connection was opened with: how many there were before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Age(u64);

#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    age: u64,
    connections: Vec<(Instant, Connection)>,
}

impl Idle {
    /// That of a connection that is opened now.
    pub(super) fn age(&self) -> Age {
        Age(self.with(|kept| kept.age))
    }

    /// Connections of the identity so far are not used again, those that are in use now included.
    pub(super) fn outdate(&self) {
        self.with(|kept| {
            kept.age += 1;
            kept.connections.clear();
        });
    }

    pub(super) fn take(&self) -> Option<(Connection, Age)> {
        self.with(|kept| {
            kept.connections.retain(|(since, connection)| {
                since.elapsed() < MAX_IDLE_TIME && !connection.is_closed()
            });
            let (_, connection) = kept.connections.pop()?;
            Some((connection, Age(kept.age)))
        })
    }

    pub(super) fn keep(&self, connection: Connection, age: Age) {
        self.with(|kept| {
            if Age(kept.age) == age && !connection.is_closed() {
                kept.connections.push((Instant::now(), connection));
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
