//! A connection that asks again and again, and tells of each answer.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{SOON, WEB};
use crate::agent::Agent;
use crate::stack::Guest;

/// A connection of the client to the server.
#[derive(Debug)]
pub struct Kept;

/// How long an answer may be waited for before the client gives its connection up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// In seconds.
    pub seconds: u32,
}

impl Kept {
    /// Opens it, and waits until it is established by answers.
    pub fn open(client: &mut Guest, Patience { seconds }: Patience) -> Result<Self> {
        let ask = format!(
            r#"exec 3<>/dev/tcp/{WEB}/80
            while printf 'HEAD / HTTP/1.1\r\nhost: h\r\n\r\n' >&3; do
                while read -r -t {seconds} line <&3; do
                    [ "${{#line}}" = 1 ] && break
                done || exit
                echo answered >> /tmp/answers
                sleep 0.1
            done"#
        );
        let agent = &mut client.agent;
        let kept = agent.run_with_input("cat > /tmp/ask && : > /tmp/answers", &ask)?;
        ensure!(kept.code == Some(0), "{kept:?}");
        agent.must("bash /tmp/ask > /dev/null 2>&1 & echo $! > /tmp/ask.pid")?;
        Self.is_answered(client)?;
        Ok(Self)
    }

    /// How many answers there were.
    pub fn answers(&self, client: &mut Guest) -> Result<u64> {
        count(&mut client.agent)
    }

    /// Waits for three answers more.
    pub fn is_answered(&self, client: &mut Guest) -> Result<()> {
        let before = count(&mut client.agent)?;
        let deadline = Instant::now() + SOON;
        while count(&mut client.agent)? < before + 3 {
            ensure!(Instant::now() < deadline, "the connection is not answered");
        }
        Ok(())
    }

    /// Ends it.
    pub fn close(self, client: &mut Guest) -> Result<()> {
        // It may have given up already.
        client.agent.must("kill $(cat /tmp/ask.pid) || true")?;
        Ok(())
    }
}

fn count(agent: &mut Agent) -> Result<u64> {
    Ok(agent.must("wc -l < /tmp/answers")?.trim().parse()?)
}
