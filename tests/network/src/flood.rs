//! What other guests move while one floods the host with new flows, against what they move while it burns as much of the processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bartizan_measuring::{Outcome, Samples, rounds};

use crate::frame::data;
use crate::front::FrontEnd;
use crate::served::Host;
use crate::told::{ROUNDS, WARM_UP, outcome, processor_time};

/// Bytes of a frame.
const SIZE: usize = 64;
/// How long each side is measured in a round.
const SPAN: Duration = Duration::from_millis(250);
/// Frames of the others on their way at a time.
const WINDOW: u32 = 128;
/// A burner's turn: it burns its share of each.
const SLICE: Duration = Duration::from_millis(1);

/// What the hostile guest does.
const REST: u8 = 0;
const FLOOD: u8 = 1;
const BURN: u8 = 2;

/// The hostile guest's side, which its two threads look at.
struct Hostile {
    does: AtomicU8,
    /// Of a burner's processor time, in thousandths.
    share: AtomicU64,
    /// How many frames it has sent, each of a flow of its own.
    sent: AtomicU64,
}

pub(crate) fn run(case: &'static str) -> Result<Outcome> {
    let host = Host::new()?;
    let (mut from, _) = host.serve(1, None)?;
    let (mut to, _) = host.serve(2, None)?;
    let (mut floods, flooding) = host.serve(3, None)?;
    let (mut flooded, receiving) = host.serve(4, None)?;
    from.prepare(&data(1, 2, SIZE))?;
    floods.prepare(&data(3, 4, SIZE))?;
    let hostile = Arc::new(Hostile {
        does: AtomicU8::new(REST),
        share: AtomicU64::new(0),
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
    // In the place of its devices' threads.
    let burner = Arc::clone(&hostile);
    thread::spawn(move || burn(&burner));
    let used = || -> Result<Duration> { Ok(flooding.used()? + receiving.used()?) };
    carry(&mut from, &mut to)?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    rounds(case, WARM_UP, ROUNDS, |counts| {
        let before = (Instant::now(), used()?);
        let sent = hostile.sent.load(Ordering::Relaxed);
        hostile.does.store(FLOOD, Ordering::Release);
        let flooded = carry(&mut from, &mut to)?;
        let share = (used()? - before.1).as_secs_f64() / before.0.elapsed().as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few thousand at most"
        )]
        hostile
            .share
            .store((share * 1000.0) as u64, Ordering::Release);
        let flood = hostile.sent.load(Ordering::Relaxed) - sent;
        ensure!(flood > 10_000, "that was no flood: {flood} frames");
        hostile.does.store(BURN, Ordering::Release);
        let burnt = carry(&mut from, &mut to)?;
        hostile.does.store(REST, Ordering::Release);
        if counts {
            ours.add(flooded);
            theirs.add(burnt);
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

/// Burns the share that the flood's devices have had.
fn burn(hostile: &Hostile) {
    loop {
        if hostile.does.load(Ordering::Acquire) != BURN {
            thread::sleep(SLICE);
            continue;
        }
        let share = hostile.share.load(Ordering::Acquire).min(1000);
        let (begun, wanted) = (
            Instant::now(),
            SLICE * u32::try_from(share).unwrap_or(0) / 1000,
        );
        // The thread's own clock: what schedstat says of one that runs is as old as the last tick.
        let Ok(before) = processor_time() else { return };
        while processor_time().is_ok_and(|now| now.saturating_sub(before) < wanted) {
            std::hint::spin_loop();
        }
        thread::sleep(SLICE.saturating_sub(begun.elapsed()));
    }
}

/// The others' frames for a while; what one takes.
fn carry(from: &mut FrontEnd, to: &mut FrontEnd) -> Result<Duration> {
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
    Ok(begun.elapsed() / received)
}
