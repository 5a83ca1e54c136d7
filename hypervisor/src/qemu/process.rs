//! Child processes: confined before they start, dead when their parent is, and named by pidfds.

mod as_user;
mod confined;
mod descriptors;
mod in_groups;
mod pidfd;

use std::io;
use std::process::{Child, ExitStatus};

pub use as_user::as_user;
pub use confined::{Confined, Restrictions, User};
pub use descriptors::{inherited, seal_inherited};
pub use in_groups::in_groups;
use pidfd::Pidfd;

/// A running child. Dropping it kills it and waits for it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pidfd: Pidfd,
}

impl Process {
    fn new(mut child: Child) -> io::Result<Self> {
        match Pidfd::of(&child) {
            Ok(pidfd) => Ok(Self { child, pidfd }),
            Err(error) => {
                // It was not waited for yet: its pid cannot be another's.
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Its pid, for people and logs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (SIGKILL). It has ended when [`Process::exited`] says so.
    pub fn kill(&self) {
        self.pidfd.kill();
    }

    /// Waits for its end. Cancel safe.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            self.pidfd.ended().await?;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // SIGKILL cannot be refused: the wait is as short as the kernel needs.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests;
