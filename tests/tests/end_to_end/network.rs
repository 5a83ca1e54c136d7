//! Two guests of one host in a network: every flow of theirs is decided by the enclave, by policies that their author signed.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bartizan_tests::layout::text;
use bartizan_tests::stack::{Guest, GuestSpec, Stack};
use serde_json::{Value, json};

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("network::nothing_passes_without_a_policy", nothing),
    ("network::a_policy_lets_pass_what_it_allows", allowed),
    ("network::a_policy_cuts_what_was_established", cut),
    ("network::what_a_guest_is_not_does_not_pass", spoofed),
];

/// The guests' addresses.
pub(crate) const WEB: &str = "10.77.0.1";
pub(crate) const CLIENT: &str = "10.77.0.2";

/// How long what is to happen at once may take: under emulation, beside other guests.
const SOON: Duration = Duration::from_secs(30);

/// A host with an enclave, a web server and a client of it.
pub(crate) struct Networked {
    // Guests before the stack: they are dropped in this order.
    pub(crate) web: Guest,
    pub(crate) client: Guest,
    pub(crate) stack: Stack,
    serial: u64,
}

impl Networked {
    pub(crate) fn start() -> Result<Self> {
        let stack = Stack::with_enclave()?;
        let boot = |name, role, ipv4| {
            stack.host.boot(&GuestSpec {
                role,
                ipv4: Some(ipv4),
                ..GuestSpec::small(name)
            })
        };
        Ok(Self {
            web: boot("web", "web", "10.77.0.1/24")?,
            client: boot("client", "client", "10.77.0.2/24")?,
            stack,
            serial: 0,
        })
    }

    /// Has these rules decide from now on; returns when they are in force.
    pub(crate) fn apply(&mut self, rules: &Value) -> Result<()> {
        self.serial += 1;
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
    let networked = world.networked()?;
    ensure!(!networked.page(5)?, "a page without any policy");
    let ping = networked
        .client
        .agent
        .run(&format!("ping -c 1 -W 2 {WEB}"))?;
    ensure!(ping.code == Some(1), "an echo without any policy: {ping:?}");
    Ok(())
}

fn allowed(world: &mut World) -> Result<()> {
    let networked = world.networked()?;
    networked.apply(&web_only())?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    // The same the other way round, and by another port, no rule allows.
    let other = |from: &mut Guest, to: &str, port: u16| {
        from.agent
            .run(&format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{to}/{port}'"))
    };
    let back = other(&mut networked.web, CLIENT, 80)?;
    ensure!(back.code != Some(0), "the server asks its client: {back:?}");
    let port = other(&mut networked.client, WEB, 81)?;
    // A refusal by the server would come at once: it has heard of it then.
    ensure!(
        port.code == Some(124),
        "another port than the rule's: {port:?}"
    );
    Ok(())
}

fn cut(world: &mut World) -> Result<()> {
    let networked = world.networked()?;
    networked.apply(&web_only())?;
    // One connection that asks again and again, and tells of each answer.
    let ask = format!(
        r#"exec 3<>/dev/tcp/{WEB}/80
        while printf 'HEAD / HTTP/1.1\r\nhost: h\r\n\r\n' >&3; do
            while read -r -t 5 line <&3; do
                [ "${{#line}}" = 1 ] && break
            done || exit
            echo answered >> /tmp/answers
            sleep 0.1
        done"#
    );
    let client = &mut networked.client.agent;
    let kept = client.run_with_input("cat > /tmp/ask && : > /tmp/answers", &ask)?;
    ensure!(kept.code == Some(0), "{kept:?}");
    client.must("bash /tmp/ask > /dev/null 2>&1 &")?;
    let count = |client: &mut bartizan_tests::agent::Agent| -> Result<u64> {
        Ok(client.must("wc -l < /tmp/answers")?.trim().parse()?)
    };
    let deadline = Instant::now() + SOON;
    while count(client)? < 3 {
        ensure!(Instant::now() < deadline, "the connection is not answered");
    }
    // Everything that was allowed is not any more, whatever was established by it.
    networked.apply(&json!([]))?;
    let client = &mut networked.client.agent;
    let then = count(client)?;
    // What had been answered by then may be told of late, once.
    client.must("sleep 3")?;
    let later = count(client)?;
    ensure!(later <= then + 1, "answered on: {then}, then {later}");
    ensure!(!networked.page(5)?, "a page, which nothing allows any more");
    networked.apply(&web_only())?;
    ensure!(networked.page(20)?, "no page, which a rule allows again");
    Ok(())
}

/// Known attack: a guest that takes another's addresses, in its packets or in ARP.
fn spoofed(world: &mut World) -> Result<()> {
    let networked = world.networked()?;
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
