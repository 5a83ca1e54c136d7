//! Two guests attest without pause: first while daemons are killed, then in a calm that shows what leaks.
//!
//! ```text
//!  ├──────── kills, 60 % ────────┤ recovery ├─ warm-up ─┼── early ──┼── late ──┤ final checks
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bartizan_tests::stack::{GuestSpec, Stack};
use serde_json::{Value, json};

use crate::attesting::{Attester, Orders};
use crate::chaos::strike;
use crate::footprint::{Footprints, grown, look};
use crate::ledger::Ledger;
use crate::random::Random;
use crate::summary::Summary;

/// The guests' names.
const GUESTS: [&str; 2] = ["one", "two"];
/// Between two kills.
const PEACE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(12));
/// How long everything may take to recover from the last kill.
const RECOVERY: Duration = Duration::from_secs(45);
/// Between two looks at the processes.
const LOOK: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);

/// A run under way.
struct Soak<'s> {
    stack: &'s mut Stack,
    ledger: &'s Ledger,
    orders: &'s Orders,
    /// A guest's thread has ended before it was told to.
    ended: Receiver<()>,
    began: Instant,
    told: u32,
    kills: BTreeMap<&'static str, u64>,
}

pub(crate) fn run(minutes: u64, seed: u64) -> Result<Summary> {
    eprintln!("\u{25b8} start the stack, boot two guests");
    let mut stack = Stack::start()?;
    stack.register_package("nginx", "/usr/sbin/nginx", "nginx")?;
    let mut random = Random::new(seed);
    let mut attesters = Vec::new();
    for name in GUESTS {
        attesters.push(Attester::new(stack.host.boot(&spec(name))?, random.next())?);
    }
    let before = stack.operator.must(&["vm", "list"])?;
    eprintln!("\u{2713} {before}");

    let (ledger, orders) = (Ledger::default(), Orders::default());
    let (end, ended) = mpsc::channel();
    let mut soak = Soak {
        stack: &mut stack,
        ledger: &ledger,
        orders: &orders,
        ended,
        began: Instant::now(),
        told: 0,
        kills: BTreeMap::new(),
    };
    let (soaked, mut problems) = thread::scope(|scope| {
        let threads: Vec<_> = attesters
            .iter_mut()
            .map(|attester| {
                let (end, ledger, orders) = (end.clone(), &ledger, &orders);
                scope.spawn(move || {
                    let ran = attester.run(orders, ledger);
                    // Nobody listens any more where it was told to end.
                    end.send(()).ok();
                    ran
                })
            })
            .collect();
        let soaked = soak.run(
            MINUTE * u32::try_from(minutes).unwrap_or(u32::MAX),
            &mut random,
        );
        orders.over.store(true, Ordering::Relaxed);
        let mut problems = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => problems.push(format!("{error:#}")),
                Err(_) => problems.push("a guest's thread panicked".into()),
            }
        }
        (soaked, problems)
    });
    let kills = std::mem::take(&mut soak.kills);
    let (early, late) = soaked.unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        Default::default()
    });
    for attester in &mut attesters {
        problems.extend(
            attester
                .check_life()
                .err()
                .map(|error| format!("{error:#}")),
        );
    }
    problems.extend(
        same_guests(&stack, &before)
            .err()
            .map(|error| format!("{error:#}")),
    );
    problems.extend(grown(&early, &late));
    let book = ledger.book();
    problems.extend(book.wrong.iter().cloned());
    eprintln!(
        "\u{25b8} look for {} acknowledged verdicts",
        book.acknowledged.len()
    );
    let lost = book.lost(&stack.operator)?;
    problems.extend(lost.iter().map(|id| format!("verdict {id} is lost")));
    // A run that did nothing proves nothing.
    for due in ["affirming", "contraindicated", "none"] {
        if !book.statuses.contains_key(due) {
            problems.push(format!("no verdict `{due}` came about"));
        }
    }
    Ok(Summary {
        ok: problems.is_empty(),
        seed,
        minutes,
        verdicts: book.statuses.clone(),
        refusals: book.refusals.clone(),
        kills,
        early,
        late,
        problems,
    })
}

impl Soak<'_> {
    /// Kills for 60 % of the time, then lets everything be; what the processes held early and late in the calm.
    fn run(&mut self, time: Duration, random: &mut Random) -> Result<(Footprints, Footprints)> {
        let end = self.began + time;
        let last_kill = self.began + time * 3 / 5;
        while Instant::now() < last_kill {
            self.wait(Instant::now() + random.time(PEACE.0, PEACE.1))?;
            let victim = strike(self.stack, &GUESTS, random)?;
            *self.kills.entry(victim).or_default() += 1;
        }
        eprintln!("\u{25b8} no more kills");
        let calm = Instant::now() + RECOVERY;
        self.wait(calm)?;
        self.orders.calm.store(true, Ordering::Relaxed);
        let third = end.saturating_duration_since(calm) / 3;
        self.wait(calm + third)?;
        let early = self.watch(calm + 2 * third)?;
        let late = self.watch(end)?;
        Ok((early, late))
    }

    /// The most that each process holds until then.
    fn watch(&mut self, until: Instant) -> Result<Footprints> {
        let mut footprints = Footprints::new();
        while Instant::now() < until {
            look(self.stack, &GUESTS, &mut footprints)?;
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
                _ => anyhow::bail!("a guest's thread ended early"),
            }
            if Instant::now() >= next_minute {
                self.told += 1;
                self.tell();
            }
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }

    fn tell(&self) {
        let book = self.ledger.book();
        let (kills, refusals): (u64, u64) =
            (self.kills.values().sum(), book.refusals.values().sum());
        eprintln!(
            "  \u{2026} minute {}: verdicts {:?}, {refusals} refusals, {kills} kills, {} wrong",
            self.told,
            book.statuses,
            book.wrong.len(),
        );
    }
}

/// Two guests with a budget that lets them ask without pause.
fn spec(name: &str) -> GuestSpec {
    let mut spec = GuestSpec::new(name);
    spec.budget = Some(json!({
        "bytes_per_request": 512_u64 << 20,
        "concurrent": 8,
        "requests_per_minute": 6000,
        "pause_ms_per_minute": 60_000,
    }));
    spec
}

/// Fails unless the same guests run in the same boots.
fn same_guests(stack: &Stack, before: &Value) -> Result<()> {
    let now = stack.operator.must(&["vm", "list"])?;
    let name = |guest: &Value| guest["name"].as_str().map(str::to_owned).context("a name");
    for was in before.as_array().context("a list of guests")? {
        let name = name(was)?;
        let mut guests = now.as_array().into_iter().flatten();
        let is = guests.find(|guest| guest["name"] == was["name"]);
        let is = is.with_context(|| format!("{name} is not there any more"))?;
        ensure!(is["guest"] == was["guest"], "{name} was {was}, is {is}");
        // For a moment of each measurement it is paused.
        ensure!(is["state"] == "running" || is["state"] == "paused", "{is}");
    }
    Ok(())
}
