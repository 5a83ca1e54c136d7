//! An uplink's thread: one epoll over the TAP device and what guests send.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::{Core, Tap, Uplink};
use crate::net::fabric::Fabric;

/// Why an uplink ended.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// The TAP device is of no further use: it was removed, most likely.
    #[error("the TAP device failed: {0}")]
    Tap(io::Error),
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] io::Error),
}

/// Serves until the TAP device fails. What guests send outside from then on has no room.
pub fn serve(
    fabric: &Arc<Fabric>,
    uplink: &Arc<Uplink>,
    tap: Tap,
) -> Result<std::convert::Infallible, UplinkError> {
    let failed = until_it_fails(fabric, uplink, tap);
    uplink.outbox.close();
    failed
}

fn until_it_fails(
    fabric: &Arc<Fabric>,
    uplink: &Arc<Uplink>,
    mut tap: Tap,
) -> Result<std::convert::Infallible, UplinkError> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
    let watched = epoll::EventFlags::IN;
    let token = epoll::EventData::new_u64;
    epoll::add(&epoll, &tap, token(0), watched).map_err(io::Error::from)?;
    epoll::add(&epoll, uplink.outbox.wake(), token(1), watched).map_err(io::Error::from)?;
    let mut core = Core::new(fabric, uplink);
    let mut events = Vec::with_capacity(4);
    let mut has_more = false;
    loop {
        let deadline = core.next_deadline();
        let timeout = match has_more {
            true => Some(Duration::ZERO),
            false => deadline.map(|at| at.saturating_duration_since(Instant::now())),
        };
        wait(&epoll, &mut events, timeout)?;
        events.clear();
        // That there was something is all: a turn looks at both, and a TAP device that has failed says so then.
        has_more = core
            .turn(&mut tap, Instant::now())
            .map_err(UplinkError::Tap)?;
    }
}

fn wait(
    epoll: &OwnedFd,
    events: &mut Vec<epoll::Event>,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let timeout = timeout.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let buffer = rustix::buffer::spare_capacity(events);
    match epoll::wait(epoll, buffer, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
