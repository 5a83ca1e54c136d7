//! The measurer: one process of the guest's, kept running.

mod link;

use std::time::Duration;

use bartizan_attestation::host::{FromMeasurer, ToMeasurer};
use tokio::time::{Instant, sleep_until};

pub use link::{Measurer, MeasurerStart};

/// Between two starts: doubled from the first to the last of these.
const DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A measurer that lived so long was not failing at its start.
const SETTLED: Duration = Duration::from_secs(30);

/// Keeps one measurer running.
#[derive(Debug)]
pub struct Keeper {
    start: MeasurerStart,
    slot: Slot,
    delay: Duration,
}

#[derive(Debug)]
enum Slot {
    Up {
        measurer: Box<Measurer>,
        since: Instant,
    },
    Down {
        until: Instant,
    },
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A measurer runs.
    Up,
    /// It says something.
    Says(FromMeasurer),
    /// It is gone; all that it was asked is lost.
    Gone,
}

impl Keeper {
    /// Will start a measurer at once.
    #[must_use]
    pub fn new(start: MeasurerStart) -> Self {
        Self {
            start,
            slot: Slot::Down {
                until: Instant::now(),
            },
            delay: DELAYS.0,
        }
    }

    /// The measurer's pid, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.slot {
            Slot::Up { measurer, .. } => Some(measurer.pid()),
            Slot::Down { .. } => None,
        }
    }

    /// Tells the measurer something; whether there is one that takes it.
    pub fn tell(&self, message: ToMeasurer) -> bool {
        match &self.slot {
            Slot::Up { measurer, .. } => measurer.tell(message),
            Slot::Down { .. } => false,
        }
    }

    /// Keeps where the guest's kernel was found for the measurers to come. The first answer counts: it is from when the
    /// guest booted.
    pub fn kernel_found(&mut self, text: u64) {
        self.start.context.kernel_text.get_or_insert(text);
    }

    /// Lifts what a measurer that is gone has left protected of the guest's RAM.
    pub fn release(&self) {
        if let Some(tracked) = &self.start.tracked {
            tracked.release();
        }
    }

    /// Kills the measurer; [`Event::Gone`] follows, then a new one.
    pub fn kill(&self) {
        if let Slot::Up { measurer, .. } = &self.slot {
            measurer.kill();
        }
    }

    /// The next event. Cancel safe.
    pub async fn next(&mut self) -> Event {
        loop {
            match &mut self.slot {
                Slot::Up { measurer, since } => match measurer.next().await {
                    Some(message) => return Event::Says(message),
                    None => {
                        if since.elapsed() > SETTLED {
                            self.delay = DELAYS.0;
                        }
                        tracing::warn!(delay = ?self.delay, "the measurer is gone; it is started again");
                        self.wait();
                        return Event::Gone;
                    }
                },
                Slot::Down { until } => {
                    sleep_until(*until).await;
                    match self.start.start() {
                        Ok(measurer) => {
                            let measurer = Box::new(measurer);
                            self.slot = Slot::Up {
                                measurer,
                                since: Instant::now(),
                            };
                            return Event::Up;
                        }
                        Err(error) => {
                            tracing::error!(%error, "the measurer cannot be started");
                            self.wait();
                        }
                    }
                }
            }
        }
    }

    fn wait(&mut self) {
        self.slot = Slot::Down {
            until: Instant::now() + self.delay,
        };
        self.delay = (self.delay * 2).min(DELAYS.1);
    }
}
