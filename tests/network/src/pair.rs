//! Two guests and their devices, in one thread: one sends, the other takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bartizan_devices::decisions::Decisions;
use bartizan_devices::net::Fabric;
use bartizan_devices::net::device::Core;
use bartizan_devices::net::flow::{Flows, Limits};

use crate::frame::{ACK, SYN, data, interface, segment};
use crate::guest::Guest;

/// The port from which on senders' ports are counted.
const FIRST_PORT: u16 = 1024;
/// Until what is decided has come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A device without its link, and its guest.
struct Served {
    guest: Guest,
    core: Core,
}

/// Both.
pub(crate) struct Pair {
    from: Served,
    to: Served,
    /// How many flows there are, and which one's frame is next.
    flows: u16,
    next: u16,
}

impl Served {
    fn new(
        number: u16,
        guest: Guest,
        fabric: &Arc<Fabric>,
        decisions: &Arc<Decisions>,
    ) -> Result<Self> {
        let plug = fabric.plug(interface(number))?;
        let of = plug.station().interface.guest;
        let numbers = fabric.numbers.clone();
        let flows = Flows::new(of, Limits::default(), numbers, Instant::now());
        Ok(Self {
            guest,
            core: Core::new(plug, flows, Arc::clone(decisions)),
        })
    }

    fn turn(&mut self, now: Instant) {
        self.core.turn(&mut self.guest.backend, now);
    }
}

impl Pair {
    /// Guests `number` and `number + 1`, of which the first sends frames of that size in so many flows, all of them begun.
    pub(crate) fn new(
        number: u16,
        size: usize,
        flows: u16,
        fabric: &Arc<Fabric>,
        decisions: &Arc<Decisions>,
    ) -> Result<Self> {
        let guests = [Guest::new(size)?, Guest::new(size)?];
        Self::of(guests, number, size, flows, fabric, decisions)
    }

    /// Likewise, of these guests.
    pub(crate) fn of(
        [from, to]: [Guest; 2],
        number: u16,
        size: usize,
        flows: u16,
        fabric: &Arc<Fabric>,
        decisions: &Arc<Decisions>,
    ) -> Result<Self> {
        let (one, other) = (number, number + 1);
        let mut pair = Self {
            from: Served::new(one, from, fabric, decisions)?,
            to: Served::new(other, to, fabric, decisions)?,
            flows,
            next: 0,
        };
        let frame = data(one, other, size);
        if size > 1514 {
            pair.shake_hands(one, other)?;
        }
        pair.from.guest.prepare(&frame)?;
        pair.begin_all()?;
        Ok(pair)
    }

    /// Sends so many frames, and has them arrive, all of them.
    pub(crate) fn move_frames(&mut self, count: u16) -> Result<()> {
        self.send(count)?;
        let now = Instant::now();
        self.from.turn(now);
        self.to.turn(now);
        let (received, out) = (self.to.guest.receive()?, self.from.guest.sent()?);
        ensure!(
            (received, out) == (count, 0),
            "of {count} frames {received} arrived, {out} were not taken"
        );
        Ok(())
    }

    /// Takes what both devices noted; returns of how many pages that is.
    pub(crate) fn take_notes(&self) -> Result<u64> {
        Ok(self.from.guest.take_notes()? + self.to.guest.take_notes()?)
    }

    fn send(&mut self, count: u16) -> Result<()> {
        let (flows, next) = (self.flows, &mut self.next);
        let mut ports = std::iter::repeat_with(|| {
            let port = FIRST_PORT + *next;
            *next = if *next + 1 == flows { 0 } else { *next + 1 };
            port
        });
        self.from.guest.send(count, &mut ports)
    }

    /// The first frame waits for what is decided of all.
    fn begin_all(&mut self) -> Result<()> {
        self.send_until_arrived(true)?;
        self.next = 0;
        let mut left = self.flows;
        while left > 0 {
            let now = left.min(64);
            self.move_frames(now)?;
            left -= now;
        }
        self.next = 0;
        Ok(())
    }

    fn send_until_arrived(&mut self, onward: bool) -> Result<()> {
        let (from, to) = if onward {
            (&mut self.from, &mut self.to)
        } else {
            (&mut self.to, &mut self.from)
        };
        let give_up = Instant::now() + PATIENCE;
        let (mut arrived, mut idle) = (0, 0);
        // Until nothing more comes: of what is sent before somebody can decide, nothing arrives.
        while arrived == 0 || idle < 3 {
            if arrived == 0 && from.guest.sent()? == 0 {
                from.guest.send(1, &mut std::iter::repeat(FIRST_PORT))?;
            }
            let now = Instant::now();
            from.turn(now);
            to.turn(now);
            let received = to.guest.receive()?;
            arrived += received;
            idle = if received == 0 { idle + 1 } else { 0 };
            ensure!(now < give_up, "nothing was decided in time");
            if arrived == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        from.guest.sent()?;
        Ok(())
    }

    fn shake_hands(&mut self, one: u16, other: u16) -> Result<()> {
        for (onward, flags) in [(true, SYN), (false, SYN | ACK), (true, ACK)] {
            let ends = if onward { (one, other) } else { (other, one) };
            let frame = segment(ends, flags, 64);
            let sender = if onward { &mut self.from } else { &mut self.to };
            sender.guest.prepare(&frame)?;
            self.send_until_arrived(onward)?;
        }
        Ok(())
    }
}
