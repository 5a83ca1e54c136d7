//! Two guests of one host in a network: every flow of theirs is decided by the enclave, by policies that their author signed.

mod kept;
mod killed;

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bartizan_tests::layout::text;
use bartizan_tests::stack::{Guest, Stack};
use serde_json::{Value, json};

use crate::Case;
use crate::world::World;
use kept::{Kept, Patience};

pub(crate) const CASES: &[Case] = &[
    ("network::nothing_passes_without_a_policy", nothing),
    ("network::a_policy_lets_pass_what_it_allows", allowed),
    ("network::a_policy_cuts_what_was_established", cut),
    ("network::what_a_guest_is_not_does_not_pass", spoofed),
    (
        "network::while_the_enclave_is_away_rules_say_what_goes_on",
        killed::enclave_is_away,
    ),
    ("network::each_that_is_killed_is_back", killed::each_is_back),
];

/// The guests' addresses.
pub(crate) const WEB: &str = "10.77.0.1";
pub(crate) const CLIENT: &str = "10.77.0.2";

/// How long what is to happen at once may take: under emulation, beside other guests.
const SOON: Duration = Duration::from_secs(30);

/// A web server and a client of it.
pub(crate) struct Networked<'w> {
    pub(crate) web: &'w mut Guest,
    pub(crate) client: &'w mut Guest,
    pub(crate) stack: &'w mut Stack,
    pub(crate) serial: &'w mut u64,
}

impl Networked<'_> {
    /// Has these rules decide from now on; returns when they are in force.
    pub(crate) fn apply(&mut self, rules: &Value) -> Result<()> {
        *self.serial += 1;
        let policy = json!({
            "version": 1, "name": "front", "serial": self.serial,
            "select": { "roles": ["web", "client"] },
            "rules": rules,
        });
        let layout = &self.stack.layout;
        let (plain, signed) = (layout.path("front.json"), layout.path("front.policy"));
        fs::write(&plain, policy.to_string())?;
        let operator = &self.stack.operator;
        self.stack.author.sign(operator, &plain, &signed)?;
        operator.must(&["policy", "apply", &text(&signed)?, "--wait"])?;
        Ok(())
    }

    /// Whether the server answers the client's echo within two seconds.
    pub(crate) fn echo(&mut self) -> Result<bool> {
        let ping = format!("ping -c 1 -W 2 {WEB}");
        Ok(self.client.agent.run(&ping)?.code == Some(0))
    }

    /// Whether the client gets the server's page within this many seconds.
    pub(crate) fn page(&mut self, seconds: u32) -> Result<bool> {
        let get = format!(
            "exec 3<>/dev/tcp/{WEB}/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3"
        );
        let outcome = self
            .client
            .agent
            .run(&format!("timeout {seconds} bash -c \"{get}\""))?;
        match outcome.code {
            Some(0) if outcome.stdout.starts_with("HTTP/1.1 200") => Ok(true),
            Some(0) => bail!("an answer that is none: {outcome:?}"),
            _ => Ok(false),
        }
    }
}

/// The client may ask the server; nobody anything else.
pub(crate) fn web_only() -> Value {
    json!([
        { "name": "serve", "effect": "allow",
          "network": { "direction": "ingress", "protocols": ["tcp"], "ports": [80], "peer": { "roles": ["client"] } } },
        { "name": "ask", "effect": "allow",
          "network": { "direction": "egress", "protocols": ["tcp"], "ports": [80], "peer": { "roles": ["web"] } } },
    ])
}

fn nothing(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    ensure!(!networked.page(5)?, "a page without any policy");
    ensure!(!networked.echo()?, "an echo without any policy");
    Ok(())
}

fn allowed(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&web_only())?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    // The same the other way round, and by another port, no rule allows.
    let other = |from: &mut Guest, to: &str, port: u16| {
        from.agent
            .run(&format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{to}/{port}'"))
    };
    let back = other(networked.web, CLIENT, 80)?;
    ensure!(back.code != Some(0), "the server asks its client: {back:?}");
    let port = other(networked.client, WEB, 81)?;
    // A refusal by the server would come at once: it has heard of it then.
    ensure!(
        port.code == Some(124),
        "another port than the rule's: {port:?}"
    );
    Ok(())
}

fn cut(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&web_only())?;
    let kept = Kept::open(networked.client, Patience { seconds: 5 })?;
    // Everything that was allowed is not any more, whatever was established by it.
    networked.apply(&json!([]))?;
    let then = kept.answers(networked.client)?;
    // What had been answered by then may be told of late, once.
    networked.client.agent.must("sleep 3")?;
    let later = kept.answers(networked.client)?;
    ensure!(later <= then + 1, "answered on: {then}, then {later}");
    kept.close(networked.client)?;
    ensure!(!networked.page(5)?, "a page, which nothing allows any more");
    networked.apply(&web_only())?;
    ensure!(networked.page(20)?, "no page, which a rule allows again");
    Ok(())
}

/// Known attack: a guest that takes another's addresses, in its packets or in ARP.
fn spoofed(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&json!([{ "name": "all", "effect": "allow", "network": {} }]))?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    let client = &mut networked.client.agent;
    client.must("ip address add 10.77.0.9/24 dev eth0")?;
    let other = client.run(&format!(
        "ip route add {WEB}/32 dev eth0 src 10.77.0.9 && timeout 5 bash -c 'exec 3<>/dev/tcp/{WEB}/80'"
    ))?;
    client.must(&format!(
        "ip route del {WEB}/32 dev eth0; ip address del 10.77.0.9/24 dev eth0"
    ))?;
    ensure!(
        other.code == Some(124),
        "by an address that is not its own: {other:?}"
    );
    let mac = client.must("cat /sys/class/net/eth0/address")?;
    let mac = mac.trim();
    client.must(
        "ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:99; ip link set eth0 up",
    )?;
    let reached = networked.page(5)?;
    let back =
        format!("ip link set eth0 down; ip link set eth0 address {mac}; ip link set eth0 up");
    networked.client.agent.must(&back)?;
    ensure!(!reached, "by a MAC that is not its own");
    ensure!(networked.page(20)?, "no page, with its own addresses again");
    Ok(())
}
