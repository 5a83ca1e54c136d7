//! Devices as the daemon serves them, each by a thread of its own, over vhost-user.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use bartizan_devices::decisions::Decisions;
use bartizan_devices::link::Link;
use bartizan_devices::net::Fabric;
use bartizan_devices::net::device::{Attachment, serve};
use bartizan_devices::net::flow::Limits;
use rustix::thread::{CpuSet, gettid, sched_setaffinity};

use crate::decider::decide_for;
use crate::frame::interface;
use crate::front::FrontEnd;

/// A segment, and who decides on its flows.
pub(crate) struct Host {
    fabric: Arc<Fabric>,
    decisions: Arc<Decisions>,
}

/// A device's thread.
#[derive(Clone, Copy)]
pub(crate) struct Thread(u32);

impl Host {
    pub(crate) fn new() -> Result<Self> {
        let decisions = Decisions::new();
        decide_for(&decisions)?;
        Ok(Self {
            fabric: Arc::default(),
            decisions,
        })
    }

    /// Serves a guest's device, on one processor alone where that is wished.
    pub(crate) fn serve(
        &self,
        number: u16,
        processor: Option<usize>,
    ) -> Result<(FrontEnd, Thread)> {
        let (ours, theirs) = UnixStream::pair()?;
        let attachment = Attachment {
            plug: self.fabric.plug(interface(number))?,
            link: Arc::new(Link::new(ours)),
            numbers: self.fabric.numbers.clone(),
            decisions: Arc::clone(&self.decisions),
            limits: Limits::default(),
            picks_up_until: None,
            log: None,
        };
        let (tell, told) = sync_channel(1);
        thread::spawn(move || {
            if let Some(processor) = processor
                && let Err(error) = stay_on(processor)
            {
                eprintln!("the device's thread could not be bound to a processor: {error}");
            }
            let _ = tell.send(Thread(gettid().as_raw_nonzero().get().unsigned_abs()));
            if let Err(error) = serve(attachment) {
                eprintln!("a device ended: {error}");
            }
        });
        let thread = told.recv().context("the device's thread ended")?;
        Ok((FrontEnd::new(theirs)?, thread))
    }
}

/// What a thread has had of processors (proc(5), `schedstat`).
#[derive(Clone, Copy)]
pub(crate) struct Had {
    /// How long it ran, and how long it waited for a processor.
    pub(crate) ran: Duration,
    pub(crate) waited: Duration,
    /// How often it was given one.
    pub(crate) turns: u32,
}

impl Thread {
    /// Until now.
    pub(crate) fn had(self) -> Result<Had> {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.0))?;
        let mut numbers = stat.split_ascii_whitespace();
        let mut next = || numbers.next().context("schedstat says too little");
        Ok(Had {
            ran: Duration::from_nanos(next()?.parse()?),
            waited: Duration::from_nanos(next()?.parse()?),
            turns: next()?.parse()?,
        })
    }
}

/// Has the calling thread run there and nowhere else.
pub(crate) fn stay_on(processor: usize) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}
