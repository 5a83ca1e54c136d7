//! Real clients of real servers, of which the policy lets pass what it names.

use anyhow::{Context, Result, ensure};
use bartizan_tests::agent::Agent;
use bartizan_tests::network::servers::{self, INNER, servers_only};
use bartizan_tests::network::{WEB, WEB_6};
use serde_json::{Value, json};

use super::Networked;
use crate::world::World;

/// iperf3, curl over IPv4 and IPv6, ssh and DNS; by each of the queues that Linux uses.
pub(super) fn all(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&servers_only(&[]))?;
    let web = &mut networked.web.agent;
    servers::start(web, &mut networked.client.agent)?;
    let served = work(&mut networked);
    servers::stop(&mut networked.web.agent)?;
    served?;
    // None of these is let by any more, whatever was.
    networked.apply(&json!([]))?;
    ensure!(!networked.page(5)?, "a page, which nothing allows any more");
    Ok(())
}

fn work(networked: &mut Networked<'_>) -> Result<()> {
    for guest in [&mut networked.web.agent, &mut networked.client.agent] {
        let listed = guest.must("ls /sys/class/net/eth0/queues && nproc")?;
        let listed: Vec<_> = listed.split_ascii_whitespace().collect();
        // As many as it has processors.
        ensure!(
            listed == ["rx-0", "rx-1", "tx-0", "tx-1", "2"],
            "{listed:?}"
        );
    }
    let client = &mut networked.client.agent;
    // What one processor sends goes by its own queue (net/core/dev.c, XPS).
    for processor in [0, 1] {
        let asked = format!("taskset -c {processor} curl -sf -m 20 -o /dev/null http://{WEB}/");
        client.must(&asked)?;
    }
    downloads(&mut networked.web.agent, client)?;
    shell(client)?;
    names(client)?;
    for arguments in [
        format!("-c {WEB}"),
        format!("-c {WEB} -R"),
        format!("-c {WEB_6} -P 2"),
    ] {
        let sum = throughput(client, &arguments)?;
        let bytes = sum["sum_received"]["bytes"].as_u64();
        ensure!(bytes > Some(1 << 20), "iperf3 {arguments}: {sum}");
    }
    let sum = throughput(client, &format!("-c {WEB} -u -b 4M -l 1200"))?;
    let (packets, lost) = (&sum["sum"]["packets"], &sum["sum"]["lost_packets"]);
    let (packets, lost) = (packets.as_u64(), lost.as_u64());
    let came = packets.zip(lost).map(|(packets, lost)| packets - lost);
    ensure!(came > Some(100), "iperf3 by UDP: {sum}");
    Ok(())
}

fn throughput(client: &mut Agent, arguments: &str) -> Result<Value> {
    let printed = client.must(&format!("iperf3 {arguments} -t 3 -J"))?;
    let mut shown: Value = serde_json::from_str(&printed)?;
    Ok(shown["end"].take())
}

/// Much more than any buffer on its way, the same at both ends.
fn downloads(web: &mut Agent, client: &mut Agent) -> Result<()> {
    let there = web.must(
        "dd if=/dev/urandom of=/var/www/html/large bs=1M count=48 status=none && sha256sum < /var/www/html/large",
    )?;
    for host in [WEB.to_owned(), format!("[{WEB_6}]")] {
        let here = client.must(&format!(
            "curl -gsS --max-time 110 -o /tmp/large http://{host}/large && sha256sum < /tmp/large"
        ))?;
        ensure!(
            here == there,
            "http://{host}/large: {here}, which is {there}"
        );
    }
    Ok(())
}

fn shell(client: &mut Agent) -> Result<()> {
    let back = client.must(&format!(
        "dd if=/dev/urandom of=/tmp/sent bs=1M count=4 status=none
        ssh -n -o BatchMode=yes -o StrictHostKeyChecking=accept-new root@{WEB} hostname
        sha256sum < /tmp/sent
        ssh -o BatchMode=yes root@{WEB} sha256sum < /tmp/sent"
    ))?;
    let lines: Vec<_> = back.lines().collect();
    ensure!(
        matches!(lines[..], ["guest", here, there] if here == there),
        "{back}"
    );
    Ok(())
}

fn names(client: &mut Agent) -> Result<()> {
    for way in ["", "-t"] {
        let answer = client.must(&format!("drill {way} ledger.example @{WEB}"))?;
        let mut lines = answer.lines();
        let found = lines.any(|line| line.starts_with("ledger.example.") && line.ends_with(WEB));
        ensure!(found, "drill {way}: {answer}");
    }
    Ok(())
}

/// Behind the server is a network with a lesser MTU: the client is told, by the server, and its packets fit from then on.
pub(super) fn path_mtu(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&servers_only(&[]))?;
    servers::start_inner(&mut networked.web.agent)?;
    let came = uploads(&mut networked);
    servers::stop_inner(&mut networked.web.agent)?;
    came
}

fn uploads(networked: &mut Networked<'_>) -> Result<()> {
    let client = &mut networked.client.agent;
    for host in [WEB, WEB_6] {
        let sum = throughput(client, &format!("-c {host}"))?;
        let bytes = sum["sum_received"]["bytes"].as_u64();
        ensure!(bytes > Some(1 << 20), "to {host}: {sum}");
        let route = client.must(&format!("ip route get {host}"))?;
        let mtu = format!("mtu {}", INNER.mtu);
        ensure!(route.contains(&mtu), "the client was not told: {route}");
    }
    Ok(())
}

/// Known attack: a guest looks for what there is of another. It finds what the policy opens, and no more.
pub(super) fn scan(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&json!([{ "name": "all", "effect": "allow", "network": {} }]))?;
    servers::start(&mut networked.web.agent, &mut networked.client.agent)?;
    let came = scans(&mut networked);
    servers::stop(&mut networked.web.agent)?;
    came
}

fn scans(networked: &mut Networked<'_>) -> Result<()> {
    const SERVED: [u16; 4] = [22, 53, 80, 5201];
    let found = nmap(&mut networked.client.agent, WEB)?;
    ensure!(found == SERVED, "without a policy's limits: {found:?}");
    networked.apply(&bartizan_tests::network::pages_only())?;
    for host in [WEB, WEB_6] {
        let found = nmap(&mut networked.client.agent, host)?;
        ensure!(found == [80], "of {host}: {found:?}");
    }
    Ok(())
}

/// The open ports that nmap finds, by half of a handshake.
fn nmap(client: &mut Agent, host: &str) -> Result<Vec<u16>> {
    let version = if host.contains(':') { "-6" } else { "" };
    let shown = client.must(&format!(
        "nmap {version} -n -Pn -sS -p 1-600,5201 --max-retries 2 --min-rate 200 --open -oG - {host}"
    ))?;
    let ports = shown.lines().find_map(|line| line.split_once("Ports: "));
    let (_, ports) = ports.with_context(|| shown.clone())?;
    let ports = ports.split('\t').next().unwrap_or_default().split(", ");
    let open = ports.map(|port| Ok(port.split('/').next().unwrap_or_default().parse()?));
    open.collect()
}
