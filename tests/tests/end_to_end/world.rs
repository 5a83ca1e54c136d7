//! What the tests share. Each part is started when the first test needs it.

use anyhow::{Result, bail};
use bartizan_tests::network::{CLIENT, CLIENT_6, WEB, WEB_6};
use bartizan_tests::stack::{Guest, GuestSpec, Host, Keeping, Stack};

use crate::network::Networked;

/// The stack and its guests.
#[derive(Default)]
pub(crate) struct World {
    // Guests and hosts before the stack: they are dropped in this order.
    web: Part<Guest>,
    other: Part<Guest>,
    another_host: Part<Host>,
    stack: Part<Stack>,
    /// The serial number of the policy that was applied last.
    serial: u64,
}

/// Started once. Where that failed, it fails for whoever needs it, at once and for the same reason.
#[derive(Default)]
enum Part<T> {
    #[default]
    Due,
    Runs(T),
    Failed(String),
}

impl World {
    /// The stack, with the profiles of nginx and of the sample registered.
    pub(crate) fn stack(&mut self) -> Result<&mut Stack> {
        self.stack.get(|| {
            let stack = Stack::keeping(|_, _, _| {
                Ok(Keeping {
                    enclave: true,
                    uplink: true,
                    ..Keeping::default()
                })
            })?;
            stack.register_package("nginx", "/usr/sbin/nginx", "nginx")?;
            stack.register_program("bartizan-sample", "ledger")?;
            Ok(stack)
        })
    }

    /// The stack and the guest `web`, which runs nginx and is never tampered with.
    pub(crate) fn web(&mut self) -> Result<(&mut Stack, &mut Guest)> {
        self.stack()?;
        let stack = self.stack.present()?;
        let boot = || {
            stack
                .host
                .boot(&GuestSpec::new("web").in_network("web", (WEB, WEB_6)))
        };
        let web = self.web.get(boot)?;
        Ok((stack, web))
    }

    /// The stack, `web`, and a second guest of the same host.
    pub(crate) fn two(&mut self) -> Result<(&mut Stack, &mut Guest, &mut Guest)> {
        self.web()?;
        let (stack, web) = (self.stack.present()?, self.web.present()?);
        let boot = || {
            stack
                .host
                .boot(&GuestSpec::new("other").in_network("client", (CLIENT, CLIENT_6)))
        };
        let other = self.other.get(boot)?;
        Ok((stack, web, other))
    }

    /// The same, for what passes between the two: `web` is the server, the other one its client.
    pub(crate) fn networked(&mut self) -> Result<Networked<'_>> {
        self.two()?;
        Ok(Networked {
            stack: self.stack.present()?,
            web: self.web.present()?,
            client: self.other.present()?,
            serial: &mut self.serial,
        })
    }

    /// The stack, `web`, and another host of the fleet, without guests.
    pub(crate) fn two_hosts(&mut self) -> Result<(&mut Stack, &mut Guest, &Host)> {
        self.web()?;
        let (stack, web) = (self.stack.present()?, self.web.present()?);
        let host = self.another_host.get(|| stack.another_host("host-2"))?;
        Ok((stack, web, host))
    }
}

impl<T> Part<T> {
    fn get(&mut self, start: impl FnOnce() -> Result<T>) -> Result<&mut T> {
        if let Self::Due = self {
            // Also where it panics.
            *self = Self::Failed("it did not start for an earlier case".into());
            match start() {
                Ok(part) => *self = Self::Runs(part),
                Err(error) => {
                    // Its console follows in what the first is told.
                    let said = format!("{error:#}");
                    let why = said.lines().next().unwrap_or_default();
                    *self = Self::Failed(format!("it did not start for an earlier case: {why}"));
                    return Err(error);
                }
            }
        }
        self.present()
    }

    fn present(&mut self) -> Result<&mut T> {
        match self {
            Self::Runs(part) => Ok(part),
            Self::Failed(why) => bail!("{why}"),
            Self::Due => bail!("it is not started"),
        }
    }
}
