//! One guest's vsock device: a thread with one epoll over QEMU's messages, kicks and the host's sockets.
//!
//! Everything of a guest runs in its own thread and nowhere else: no lock is shared between guests, and
//! the kernel's scheduler is what makes them fair to one another.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::exchange::Exchange;
use crate::link::Link;
use crate::vhost_user::{Backend, Front, FrontError, RingError};
use crate::vsock::{self, Journal, Limits, Services, Switch};

/// What epoll reports: which of the watched descriptors.
const QEMU: u64 = 0;
const KICKS: u64 = 2;
const HOSTS: u64 = 16;

/// What a device is made of.
pub struct Attachment {
    /// The guest's context id.
    pub cid: u32,
    /// The services it may reach.
    pub services: Services,
    /// What it is attached by.
    pub link: Arc<Link>,
    /// The record of open connections, if the supervisor keeps one.
    pub journal: Option<Journal>,
    /// The log of what is written of the guest's RAM, if the supervisor keeps one.
    pub log: Option<OwnedFd>,
    /// What the guest may make the device hold.
    pub limits: Limits,
}

/// Why a device ended without having been detached.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A system call failed.
    #[error("a system call failed: {0}")]
    System(#[from] std::io::Error),
    /// QEMU's end is of no further use.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// A ring could not be made.
    #[error(transparent)]
    Ring(#[from] RingError),
}

/// Serves until the supervisor closes its link, or the device is dismissed.
pub fn serve(attachment: Attachment) -> Result<(), DeviceError> {
    Device::new(attachment)?.run()
}

struct Device {
    epoll: Arc<OwnedFd>,
    qemu: Front,
    switch: Switch,
    exchange: Exchange,
    // Last, so that nothing is held any more when this is let go of.
    link: Arc<Link>,
}

impl Device {
    fn new(attachment: Attachment) -> Result<Self, DeviceError> {
        let Attachment {
            cid,
            services,
            link,
            journal,
            log,
            limits,
        } = attachment;
        let epoll =
            Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?);
        let qemu = link.stream().try_clone()?;
        watch(&epoll, &qemu, QEMU)?;
        let backend = Backend::new(vsock::offer(cid), Arc::clone(&epoll), KICKS)?.logged(log);
        let switch = Switch::new(cid, services, limits, (Arc::clone(&epoll), HOSTS), journal)?;
        Ok(Self {
            qemu: Front::new(qemu, backend, false)?,
            exchange: Exchange::new(cid),
            epoll,
            switch,
            link,
        })
    }

    fn run(mut self) -> Result<(), DeviceError> {
        let mut events = Vec::with_capacity(64);
        let mut has_more = false;
        loop {
            let timeout = if has_more {
                Some(Duration::ZERO)
            } else {
                self.until_deadline()
            };
            self.wait(&mut events, timeout)?;
            for event in events.drain(..) {
                let epoll::Event { data, flags, .. } = event;
                if self.handle(data.u64(), flags)?.is_none() {
                    return Ok(());
                }
            }
            if self.link.is_dismissed() {
                return Ok(());
            }
            let now = Instant::now();
            self.switch.expire(now);
            let mut backend = self.qemu.backend();
            if backend.take_driver_restart() {
                self.switch.forget();
            }
            has_more = self.exchange.turn(&mut backend, &mut self.switch);
        }
    }

    fn wait(
        &self,
        events: &mut Vec<epoll::Event>,
        timeout: Option<Duration>,
    ) -> Result<(), DeviceError> {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let buffer = rustix::buffer::spare_capacity(events);
        match epoll::wait(&*self.epoll, buffer, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }

    /// Handles one event; `None` when the device is detached.
    fn handle(&mut self, token: u64, flags: epoll::EventFlags) -> Result<Option<()>, DeviceError> {
        match token {
            QEMU if flags.contains(epoll::EventFlags::IN) => {
                return Ok(self.qemu.take()?.then_some(()));
            }
            QEMU => return Ok(None),
            // That there was a kick is all: the turn that follows looks at both rings.
            KICKS..HOSTS => {}
            token => {
                if let Ok(slot) = usize::try_from(token - HOSTS) {
                    self.switch.host_ready(slot);
                }
            }
        }
        Ok(Some(()))
    }

    fn until_deadline(&self) -> Option<Duration> {
        Some(
            self.switch
                .next_deadline()?
                .saturating_duration_since(Instant::now()),
        )
    }
}

fn watch(epoll: &OwnedFd, link: impl AsFd, token: u64) -> std::io::Result<()> {
    epoll::add(
        epoll,
        link,
        epoll::EventData::new_u64(token),
        epoll::EventFlags::IN,
    )?;
    Ok(())
}
