//! What the tests share. Each part is started when the first test needs it.

use anyhow::Result;
use bartizan_tests::stack::{Guest, GuestSpec, Host, Stack};

/// The stack and its guests.
#[derive(Default)]
pub(crate) struct World {
    // Guests and hosts before the stack: they are dropped in this order.
    web: Option<Guest>,
    other: Option<Guest>,
    another_host: Option<Host>,
    stack: Option<Stack>,
}

impl World {
    /// The stack, with the profiles of nginx and of the sample registered.
    pub(crate) fn stack(&mut self) -> Result<&mut Stack> {
        if self.stack.is_none() {
            let stack = Stack::start()?;
            stack.register_package("nginx", "/usr/sbin/nginx", "nginx")?;
            stack.register_program("bartizan-sample", "ledger")?;
            self.stack = Some(stack);
        }
        self.stack
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("no stack"))
    }

    /// The stack and the guest `web`, which runs nginx and is never tampered with.
    pub(crate) fn web(&mut self) -> Result<(&mut Stack, &mut Guest)> {
        self.stack()?;
        let stack = self
            .stack
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("no stack"))?;
        if self.web.is_none() {
            self.web = Some(stack.host.boot(&GuestSpec::new("web"))?);
        }
        let web = self
            .web
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("no guest"))?;
        Ok((stack, web))
    }

    /// The stack, `web`, and a second guest of the same host.
    pub(crate) fn two(&mut self) -> Result<(&mut Stack, &mut Guest, &mut Guest)> {
        self.web()?;
        let stack = self
            .stack
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("no stack"))?;
        if self.other.is_none() {
            self.other = Some(stack.host.boot(&GuestSpec::new("other"))?);
        }
        let web = self
            .web
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("no guest"))?;
        let other = self
            .other
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("no guest"))?;
        Ok((stack, web, other))
    }
    /// The stack, `web`, and another host of the fleet, without guests.
    pub(crate) fn two_hosts(&mut self) -> Result<(&mut Stack, &mut Guest, &Host)> {
        self.web()?;
        let stack = self
            .stack
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("no stack"))?;
        if self.another_host.is_none() {
            self.another_host = Some(stack.another_host("host-2")?);
        }
        let web = self
            .web
            .as_mut()
            .ok_or_else(|| anyhow::anyhow!("no guest"))?;
        let host = self
            .another_host
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("no host"))?;
        Ok((stack, web, host))
    }
}
