//! An operator sees who a guest speaks to and by which rule, and captures what is said.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_tests::network::{CLIENT, SOON, WEB};
use bartizan_tests::operator::{Operator, Ran};
use serde_json::{Value, json};

use super::Networked;
use crate::world::World;

/// Packets that are captured: fewer than a page takes.
const PACKETS: usize = 6;
/// Bytes of a pcap file's header: a capture that has begun has one.
const HEADER: u64 = 24;

/// Pages are allowed, another port is denied by name.
fn rules() -> Value {
    json!([
        { "name": "serve", "effect": "allow",
          "network": { "direction": "ingress", "protocols": ["tcp"], "ports": [80], "peer": { "roles": ["client"] } } },
        { "name": "ask", "effect": "allow",
          "network": { "direction": "egress", "protocols": ["tcp"], "ports": [80], "peer": { "roles": ["web"] } } },
        { "name": "never", "effect": "deny",
          "network": { "direction": "egress", "protocols": ["tcp"], "ports": [81] } },
    ])
}

pub(super) fn seen(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&rules())?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("client.pcap");
    let capture = begin_capture(networked.stack.operator.clone(), &file)?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    let denied = networked
        .client
        .agent
        .run(&format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{WEB}/81'"))?;
    ensure!(
        denied.code == Some(124),
        "a port that is denied: {denied:?}"
    );
    listed(&networked)?;

    let Ok(captured) = capture.join() else {
        bail!("the capture's thread has panicked");
    };
    let captured = captured?;
    ensure!(captured.code == Some(0), "{captured:?}");
    ensure!(captured.json["packets"] == PACKETS, "{captured:?}");
    ensure!(captured.json["ended"] == "packets", "{captured:?}");
    read_by_another(&file)?;
    written_down(&networked)
}

/// Begins one of the client's page; returns once it has.
fn begin_capture(operator: Operator, file: &Path) -> Result<JoinHandle<Result<Ran>>> {
    let (path, packets) = (file.to_owned(), PACKETS.to_string());
    let running = thread::spawn(move || {
        let path = path.to_str().context("a path")?;
        operator.run(&[
            "flow",
            "capture",
            "other",
            "--output",
            path,
            "--protocol",
            "tcp",
            "--address",
            WEB,
            "--port",
            "80",
            "--packets",
            &packets,
            "--seconds",
            "300",
        ])
    });
    let begun = Instant::now();
    while !std::fs::metadata(file).is_ok_and(|file| file.len() >= HEADER) {
        ensure!(
            begun.elapsed() < SOON && !running.is_finished(),
            "no capture has begun"
        );
        thread::sleep(Duration::from_millis(50));
    }
    Ok(running)
}

fn listed(networked: &Networked<'_>) -> Result<()> {
    let flows = |vm| networked.stack.operator.must(&["flow", "list", vm]);
    let of_client = flows("other")?;
    let page = find(&of_client, "egress", 80)?;
    ensure!(page["allowed"] == true && by(page, "/ask"), "{page}");
    ensure!(page["peer"] == WEB && page["local"] == CLIENT, "{page}");
    let passed = |way: &str| page[way]["bytes"].as_u64().unwrap_or(0);
    ensure!(
        passed("sent") > 0 && passed("received") > passed("sent"),
        "{page}"
    );
    let denied = find(&of_client, "egress", 81)?;
    ensure!(
        denied["allowed"] == false && by(denied, "/never"),
        "{denied}"
    );
    ensure!(denied["sent"]["bytes"] == 0, "{denied}");
    ensure!(denied["refused_packets"].as_u64() > Some(0), "{denied}");
    let of_web = flows("web")?;
    let served = find(&of_web, "ingress", 80)?;
    ensure!(
        served["allowed"] == true && by(served, "/serve"),
        "{served}"
    );
    Ok(())
}

/// The newest.
fn find<'f>(flows: &'f Value, direction: &str, port: u16) -> Result<&'f Value> {
    let mut all = flows.as_array().into_iter().flatten().rev();
    let found = all.find(|flow| flow["direction"] == direction && flow["port"] == port);
    found.with_context(|| format!("no flow {direction} to {port}: {flows}"))
}

fn by(flow: &Value, rule: &str) -> bool {
    flow["rule"].as_str().is_some_and(|by| by.ends_with(rule))
}

fn read_by_another(file: &Path) -> Result<()> {
    let read = Command::new("tcpdump")
        .args(["-nn", "-q", "-r", "-"])
        .stdin(Stdio::from(std::fs::File::open(file)?))
        .output()
        .context("tcpdump could not be run")?;
    ensure!(read.status.success(), "{read:?}");
    let packets = String::from_utf8(read.stdout)?;
    ensure!(packets.lines().count() == PACKETS, "{packets}");
    let first = packets.lines().next().unwrap_or_default();
    ensure!(
        first.contains(&format!("IP {CLIENT}.")) && first.contains(&format!("> {WEB}.80: tcp 0")),
        "{packets}"
    );
    ensure!(
        packets.contains(&format!("IP {WEB}.80 > {CLIENT}.")),
        "{packets}"
    );
    Ok(())
}

fn written_down(networked: &Networked<'_>) -> Result<()> {
    let log = networked
        .stack
        .operator
        .must(&["host", "log", "--last", "20"])?;
    let mut records = log.as_array().into_iter().flatten();
    let captured = records.find(|record| record["operation"] == "capture-flows");
    let captured = captured.with_context(|| format!("no capture in the log: {log}"))?;
    ensure!(captured["arguments"]["vm"] == "other", "{captured}");
    ensure!(
        captured["arguments"]["network"] == format!("{WEB}/32"),
        "{captured}"
    );
    Ok(())
}
