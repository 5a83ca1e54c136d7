//! The cases run in two lanes, each with a world of its own: most of them wait for a guest, which is one processor's work.
//!
//! ```text
//!  groups, in their order ──┬──► lane, its world ──┐
//!                           └──► lane, its world ──┴──► outcomes, which the harness tells in the cases' order
//! ```
//!
//! The cases of a group run in one lane, in their order. What looks at all of the machine's processes runs with no other beside it.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::world::World;
use crate::{Case, slowest};

/// Lanes at most.
const LANES: usize = 2;

/// Cases that belong together.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) cases: Vec<Case>,
    /// Nothing else may run meanwhile.
    pub(crate) alone: bool,
}

/// What became of a case.
type Outcome = Result<(), String>;

/// The lanes that run.
pub(crate) struct Lanes {
    shared: Arc<Shared>,
    running: Vec<JoinHandle<()>>,
}

/// What became of the cases so far.
#[derive(Clone)]
pub(crate) struct Outcomes(Arc<Shared>);

struct Shared {
    groups: Mutex<VecDeque<Group>>,
    told: Mutex<Told>,
    changed: Condvar,
    alone: RwLock<()>,
}

#[derive(Default)]
struct Told {
    outcomes: HashMap<&'static str, Outcome>,
    took: Vec<(Duration, &'static str)>,
    /// Lanes that have not ended.
    lanes: usize,
}

impl Lanes {
    /// Begins with these groups.
    pub(crate) fn start(groups: Vec<Group>) -> Self {
        let lanes = LANES.min(groups.len());
        let shared = Arc::new(Shared {
            groups: Mutex::new(groups.into()),
            told: Mutex::new(Told {
                lanes,
                ..Told::default()
            }),
            changed: Condvar::new(),
            alone: RwLock::default(),
        });
        let lane = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.run())
        };
        let running = (0..lanes).map(lane).collect();
        Self { shared, running }
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        Outcomes(Arc::clone(&self.shared))
    }

    /// Waits for the end of all worlds: nothing of them may be left behind.
    pub(crate) fn end(self) {
        for lane in self.running {
            // Its cases' outcomes were told, or are missed.
            let _ended = lane.join();
        }
        slowest::tell(&mut self.shared.told().took);
    }
}

impl Outcomes {
    /// Waits for a case.
    pub(crate) fn of(&self, name: &'static str) -> Outcome {
        let waits = |told: &mut Told| !told.outcomes.contains_key(name) && told.lanes > 0;
        let told = self.0.changed.wait_while(self.0.told(), waits);
        let mut told = told.unwrap_or_else(PoisonError::into_inner);
        let outcome = told.outcomes.remove(name);
        outcome.unwrap_or_else(|| Err("its lane ended before it".into()))
    }
}

impl Shared {
    fn run(&self) {
        // Also where it panics, at the end of its world.
        let _ended = Ended(self);
        let mut world = World::default();
        while let Some(group) = self.next() {
            let (_alone, _beside) = if group.alone {
                let alone = self.alone.write().unwrap_or_else(PoisonError::into_inner);
                (Some(alone), None)
            } else {
                let beside = self.alone.read().unwrap_or_else(PoisonError::into_inner);
                (None, Some(beside))
            };
            for (name, case) in group.cases {
                let began = Instant::now();
                let done = catch_unwind(AssertUnwindSafe(|| case(&mut world)));
                let outcome = match done {
                    Ok(done) => done.map_err(|error| format!("{error:#}")),
                    Err(_) => Err("it panicked".into()),
                };
                let mut told = self.told();
                told.took.push((began.elapsed(), name));
                told.outcomes.insert(name, outcome);
                self.changed.notify_all();
            }
        }
    }

    fn next(&self) -> Option<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.pop_front()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.told().lanes -= 1;
        self.0.changed.notify_all();
    }
}
