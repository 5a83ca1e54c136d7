//! What other guests move while one floods the host with new flows, against what they move while it burns as much of the processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bartizan_measuring::{Outcome, Samples, rounds};

use crate::beside::{DRIVES, FORWARDS};
use crate::frame::data;
use crate::front::FrontEnd;
use crate::served::{Had, Host, stay_on};
use crate::told::{ROUNDS, WARM_UP, outcome, processor_time};

/// Bytes of a frame.
const SIZE: usize = 64;
/// How long each side is measured at a time, and how often in a round: which threads share a processor changes all the time.
const SPAN: Duration = Duration::from_millis(50);
const SPANS: usize = 5;
/// Frames of the others on their way at a time.
const WINDOW: u32 = 128;
/// How long who has nothing to do waits. What is shorter is put off.
const SLICE: Duration = Duration::from_millis(1);
const SHORTEST: Duration = Duration::from_micros(100);

/// What the hostile guest does.
const REST: u8 = 0;
const FLOOD: u8 = 1;
const BURN: u8 = 2;

/// The hostile guest's side, which its threads look at.
struct Hostile {
    does: AtomicU8,
    /// Of each of its devices' threads.
    manners: [Manner; 2],
    /// How many frames it has sent, each of a flow of its own.
    sent: AtomicU64,
}

/// How a thread uses processors: how long it runs when it is given one, and how long it rests then by itself, in nanoseconds.
#[derive(Default)]
struct Manner {
    runs: AtomicU64,
    rests: AtomicU64,
}

impl Manner {
    /// As a thread did between two looks at it.
    fn learn(&self, before: Had, after: Had, span: Duration) {
        let turns = after.turns.wrapping_sub(before.turns).max(1);
        let ran = after.ran.saturating_sub(before.ran);
        let waited = after.waited.saturating_sub(before.waited);
        let rested = span.saturating_sub(ran).saturating_sub(waited);
        for (kept, all) in [(&self.runs, ran), (&self.rests, rested)] {
            let each = u64::try_from((all / turns).as_nanos()).unwrap_or(u64::MAX);
            kept.store(each, Ordering::Release);
        }
    }
}

pub(crate) fn run(case: &'static str) -> Result<Outcome> {
    let host = Host::new()?;
    stay_on(DRIVES)?;
    let (mut from, _) = host.serve(1, Some(FORWARDS))?;
    let (mut to, _) = host.serve(2, Some(FORWARDS))?;
    let (mut floods, flooding) = host.serve(3, Some(FORWARDS))?;
    let (mut flooded, receiving) = host.serve(4, Some(FORWARDS))?;
    from.prepare(&data(1, 2, SIZE))?;
    floods.prepare(&data(3, 4, SIZE))?;
    let hostile = Arc::new(Hostile {
        does: AtomicU8::new(REST),
        manners: Default::default(),
        sent: AtomicU64::new(0),
    });
    // Its vCPU: sends, or does as much without sending.
    let vcpu = Arc::clone(&hostile);
    thread::spawn(move || {
        // Ports from 1024 on, both of them.
        let mut numbers = (0_u32..)
            .map(|number| (1024 + number / 50_000 % 50_000) << 16 | (1024 + number % 50_000));
        loop {
            match vcpu.does.load(Ordering::Acquire) {
                FLOOD => {
                    let done = floods.send_new(128, &mut numbers).and_then(|sent| {
                        vcpu.sent.fetch_add(sent.into(), Ordering::Relaxed);
                        flooded.receive()
                    });
                    if let Err(error) = done {
                        eprintln!("the flood ended: {error}");
                        return;
                    }
                }
                BURN => std::hint::spin_loop(),
                _ => thread::sleep(SLICE),
            }
        }
    });
    // One in the place of each device's thread.
    for device in 0..2 {
        let burner = Arc::clone(&hostile);
        thread::spawn(move || {
            if let Err(error) = stay_on(FORWARDS) {
                eprintln!("a burner could not be bound to a processor: {error}");
            }
            burn(&burner, device);
        });
    }
    let had = || -> Result<[Had; 2]> { Ok([flooding.had()?, receiving.had()?]) };
    carry(&mut from, &mut to)?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let (mut beside_flood, mut beside_burners) = (Carried::default(), Carried::default());
        let sent = hostile.sent.load(Ordering::Relaxed);
        for _ in 0..SPANS {
            let (begun, before) = (Instant::now(), had()?);
            hostile.does.store(FLOOD, Ordering::Release);
            beside_flood.add(carry(&mut from, &mut to)?);
            let (span, after) = (begun.elapsed(), had()?);
            for ((manner, before), after) in hostile.manners.iter().zip(before).zip(after) {
                manner.learn(before, after, span);
            }
            hostile.does.store(BURN, Ordering::Release);
            beside_burners.add(carry(&mut from, &mut to)?);
            hostile.does.store(REST, Ordering::Release);
        }
        let flood = hostile.sent.load(Ordering::Relaxed) - sent;
        ensure!(flood > 10_000, "that was no flood: {flood} frames");
        if counts {
            ours.add(beside_flood.each());
            theirs.add(beside_burners.each());
        }
        Ok(())
    })?;
    let sent = hostile.sent.load(Ordering::Relaxed);
    eprintln!("  {sent} frames, each of a flow of its own, were the flood");
    Ok(outcome(
        case,
        0.8,
        "the hostile guest's vCPU and devices burn as much of the processors, and send nothing",
        &ours,
        &theirs,
    ))
}

/// Uses processors as one of the flood's devices did.
fn burn(hostile: &Hostile, device: usize) {
    let Some(manner) = hostile.manners.get(device) else {
        return;
    };
    let mut owed = Duration::ZERO;
    loop {
        if hostile.does.load(Ordering::Acquire) != BURN {
            owed = Duration::ZERO;
            thread::sleep(SLICE);
            continue;
        }
        let of = |kept: &AtomicU64| Duration::from_nanos(kept.load(Ordering::Acquire));
        let wanted = of(&manner.runs);
        // The thread's own clock: what schedstat says of one that runs is as old as the last tick.
        let Ok(before) = processor_time() else { return };
        while processor_time().is_ok_and(|now| now.saturating_sub(before) < wanted) {
            std::hint::spin_loop();
        }
        owed += of(&manner.rests);
        while owed >= SHORTEST && hostile.does.load(Ordering::Acquire) == BURN {
            let begun = Instant::now();
            thread::sleep(owed.min(SLICE));
            owed = owed.saturating_sub(begun.elapsed());
        }
    }
}

/// How many frames, in which time.
#[derive(Clone, Copy, Default)]
struct Carried {
    frames: u32,
    time: Duration,
}

impl Carried {
    fn add(&mut self, more: Self) {
        self.frames += more.frames;
        self.time += more.time;
    }

    fn each(self) -> Duration {
        self.time / self.frames.max(1)
    }
}

/// The others' frames for a while.
fn carry(from: &mut FrontEnd, to: &mut FrontEnd) -> Result<Carried> {
    let begun = Instant::now();
    let (mut out, mut received) = (0, 0_u32);
    let mut heard = begun;
    while begun.elapsed() < SPAN || out > 0 {
        if begun.elapsed() < SPAN {
            out += u32::from(from.send(u16::try_from(WINDOW - out)?)?);
        }
        let now = u32::from(to.receive()?);
        received += now;
        out = out.saturating_sub(now);
        if now > 0 {
            heard = Instant::now();
        } else if heard.elapsed() > Duration::from_secs(1) {
            // The first ones wait for a verdict, of which a few may be lost.
            if received == 0 {
                bail!("none of the others' frames arrived");
            }
            out = 0;
        }
        thread::yield_now();
    }
    Ok(Carried {
        frames: received,
        time: begun.elapsed(),
    })
}
