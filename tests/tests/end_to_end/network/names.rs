//! Rules by names: the web server is a DNS server, too, which says that `web.test` is itself, for an hour.

use anyhow::{Result, ensure};
use bartizan_tests::network::{WEB, pages_only};
use serde_json::{Value, json};

use super::Networked;
use crate::world::World;

/// Answers each question with the server's own address.
const SERVER: &str = r#"
use Socket;
socket(my $socket, PF_INET, SOCK_DGRAM, 0) or die $!;
bind($socket, sockaddr_in(53, INADDR_ANY)) or die $!;
while (my $peer = recv($socket, my $query, 512, 0)) {
    my $record = "\xc0\x0c" . pack('nnNn', 1, 1, 3600, 4) . inet_aton($ARGV[0]);
    my $answer = substr($query, 0, 2) . pack('nnnnn', 0x8180, 1, 1, 0, 0) . substr($query, 12) . $record;
    send($socket, $answer, 0, $peer);
}
"#;

/// The client may ask the server for names, and whoever is `web.test` for pages.
fn by_name() -> Value {
    json!([
        { "name": "serve", "effect": "allow",
          "network": { "direction": "ingress", "protocols": ["tcp", "udp"], "ports": [53, 80], "peer": { "roles": ["client"] } } },
        { "name": "names", "effect": "allow",
          "network": { "direction": "egress", "protocols": ["udp"], "ports": [53], "peer": { "addresses": [WEB] } } },
        { "name": "ask", "effect": "allow",
          "network": { "direction": "egress", "protocols": ["tcp"], "ports": [80], "peer": { "names": ["web.test"] } } },
    ])
}

/// Known attack: a guest connects to an address that no server has given to it under the name that is allowed, or under another.
pub(super) fn believed(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&by_name())?;
    networked.web.agent.must(&format!(
        "cat > /run/dns.pl << 'END'\n{SERVER}END\nsetsid perl /run/dns.pl {WEB} > /run/dns.log 2>&1 < /dev/null & echo $! > /run/dns.pid"
    ))?;
    let outcome = asked(&mut networked);
    networked.web.agent.must("kill $(cat /run/dns.pid)")?;
    outcome?;
    // Where nothing is allowed by name, its address is as good as any.
    networked.apply(&pages_only())?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    Ok(())
}

fn asked(networked: &mut Networked<'_>) -> Result<()> {
    ensure!(!networked.page(5)?, "a page of an address without a name");
    resolve(networked, "xyz")?;
    ensure!(!networked.page(5)?, "a page by another name");
    resolve(networked, "web")?;
    ensure!(networked.page(20)?, "no page, by the name that is allowed");
    // What is decided anew is decided by what is known.
    networked.apply(&by_name())?;
    ensure!(networked.page(20)?, "no page, by a name that is known");
    Ok(())
}

/// Asks for the address of a name of three letters under `test` until there is an answer.
fn resolve(networked: &mut Networked<'_>, name: &str) -> Result<()> {
    let query =
        r"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03NAME\x04test\x00\x00\x01\x00\x01";
    let query = query.replace("NAME", name);
    let ask = format!(
        "exec 3<>/dev/udp/{WEB}/53; printf '{query}' >&3; head -c 42 <&3 | wc -c | grep -qx 42"
    );
    let command =
        format!("for i in 1 2 3 4 5 6; do timeout 5 bash -c \"{ask}\" && exit; done; exit 1");
    let outcome = networked.client.agent.run(&command)?;
    ensure!(outcome.code == Some(0), "no answer: {outcome:?}");
    Ok(())
}
