//! What every soak on the stack goes through: first while daemons are killed, then in a calm that shows what leaks.
//!
//! ```text
//!  ├──────── kills, 60 % ────────┤ recovery ├─ warm-up ─┼── early ──┼── late ──┤ final checks
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bartizan_tests::stack::Stack;

use crate::chaos::{Victim, strike};
use crate::footprint::{Footprints, grown, look};
use crate::random::Random;
use crate::summary::{Counts, Summary};

/// Between two kills.
const PEACE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(12));
/// How long everything may take to recover from the last kill.
const RECOVERY: Duration = Duration::from_secs(45);
/// Between two looks at the processes.
const LOOK: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);

/// What the guests' threads are told.
#[derive(Default)]
pub(crate) struct Orders {
    /// Nothing is killed any more, and everything has recovered.
    pub(crate) calm: AtomicBool,
    /// It is over.
    pub(crate) over: AtomicBool,
}

/// What is done in a guest, until it is over; fails if the guest is gone.
pub(crate) type Work<'w> = Box<dyn FnOnce() -> Result<()> + Send + 'w>;

/// What a soak is made of.
pub(crate) struct Plan<'p> {
    /// All guests that run.
    pub(crate) guests: &'p [&'p str],
    /// Who is killed.
    pub(crate) victims: &'p [Victim],
    pub(crate) orders: &'p Orders,
    /// What an operator does between two kills, and between two looks in the calm.
    pub(crate) operate: &'p mut dyn FnMut(&Stack, &mut Random) -> Result<()>,
    /// How it goes, for people.
    pub(crate) tell: &'p dyn Fn() -> String,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// How often each process was killed.
    pub(crate) kills: BTreeMap<&'static str, u64>,
    /// What each held in the calm.
    pub(crate) early: Footprints,
    pub(crate) late: Footprints,
    pub(crate) problems: Vec<String>,
}

impl Outcome {
    /// Adds what did not hold afterwards.
    pub(crate) fn check(&mut self, checked: Result<()>) {
        let problem = checked.err().map(|error| format!("{error:#}"));
        self.problems.extend(problem);
    }

    /// A run that did nothing proves nothing: each of these must have come about.
    pub(crate) fn demand(&mut self, counts: &Counts, due: &[&str]) {
        let missing = due.iter().filter(|name| !counts.contains_key(**name));
        let missing = missing.map(|name| format!("no `{name}` came about"));
        self.problems.extend(missing);
    }

    /// Sums up, with what has grown in the calm among the problems.
    pub(crate) fn summary<const N: usize>(
        mut self,
        (seed, minutes): (u64, u64),
        counts: [(&'static str, Counts); N],
    ) -> Summary {
        self.problems.extend(grown(&self.early, &self.late));
        Summary {
            ok: self.problems.is_empty(),
            seed,
            minutes,
            counts: counts.into(),
            kills: self.kills,
            early: self.early,
            late: self.late,
            problems: self.problems,
        }
    }
}

struct Soak<'s, 'p> {
    stack: &'s mut Stack,
    plan: Plan<'p>,
    /// A guest's thread has ended before it was told to.
    ended: Receiver<()>,
    began: Instant,
    told: u32,
    kills: BTreeMap<&'static str, u64>,
}

/// Goes through all of them, with this going on in the guests.
pub(crate) fn go(
    stack: &mut Stack,
    plan: Plan<'_>,
    works: Vec<Work<'_>>,
    minutes: u64,
    random: &mut Random,
) -> Outcome {
    let (end, ended) = mpsc::channel();
    let orders = plan.orders;
    let mut soak = Soak {
        stack,
        plan,
        ended,
        began: Instant::now(),
        told: 0,
        kills: BTreeMap::new(),
    };
    let mut problems = Vec::new();
    let soaked = thread::scope(|scope| {
        let threads = works.into_iter().map(|work| {
            let end = end.clone();
            scope.spawn(move || {
                let ran = work();
                // Nobody listens any more where it was told to end.
                end.send(()).ok();
                ran
            })
        });
        let threads: Vec<_> = threads.collect();
        let time = MINUTE * u32::try_from(minutes).unwrap_or(u32::MAX);
        let soaked = soak.run(time, random);
        orders.over.store(true, Ordering::Relaxed);
        for thread in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => problems.push(format!("{error:#}")),
                Err(_) => problems.push("a guest's thread panicked".into()),
            }
        }
        soaked
    });
    let (early, late) = soaked.unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        Default::default()
    });
    Outcome {
        kills: soak.kills,
        early,
        late,
        problems,
    }
}

impl Soak<'_, '_> {
    /// Kills for 60 % of the time, then lets everything be; what the processes held early and late in the calm.
    fn run(&mut self, time: Duration, random: &mut Random) -> Result<(Footprints, Footprints)> {
        let end = self.began + time;
        let last_kill = self.began + time * 3 / 5;
        while Instant::now() < last_kill {
            self.wait(Instant::now() + random.time(PEACE.0, PEACE.1))?;
            (self.plan.operate)(self.stack, random)?;
            let (victims, guests) = (self.plan.victims, self.plan.guests);
            let victim = strike(self.stack, guests, victims, random)?;
            *self.kills.entry(victim).or_default() += 1;
        }
        eprintln!("\u{25b8} no more kills");
        let calm = Instant::now() + RECOVERY;
        self.wait(calm)?;
        self.plan.orders.calm.store(true, Ordering::Relaxed);
        let third = end.saturating_duration_since(calm) / 3;
        self.watch(calm + third, random)?;
        let early = self.watch(calm + 2 * third, random)?;
        let late = self.watch(end, random)?;
        Ok((early, late))
    }

    /// The most that each process holds until then.
    fn watch(&mut self, until: Instant, random: &mut Random) -> Result<Footprints> {
        let mut footprints = Footprints::new();
        while Instant::now() < until {
            (self.plan.operate)(self.stack, random)?;
            look(self.stack, self.plan.guests, &mut footprints)?;
            self.wait(until.min(Instant::now() + LOOK))?;
        }
        Ok(footprints)
    }

    /// Lets time pass, telling each minute how it goes; fails when a guest's thread ended.
    fn wait(&mut self, until: Instant) -> Result<()> {
        loop {
            let next_minute = self.began + MINUTE * (self.told + 1);
            let left = until
                .min(next_minute)
                .saturating_duration_since(Instant::now());
            match self.ended.recv_timeout(left) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => bail!("a guest's thread ended early"),
            }
            if Instant::now() >= next_minute {
                self.told += 1;
                let kills: u64 = self.kills.values().sum();
                let (minute, told) = (self.told, (self.plan.tell)());
                eprintln!("  \u{2026} minute {minute}: {told}, {kills} kills");
            }
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }
}
