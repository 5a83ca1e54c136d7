//! As many flows as a guest has at a busy time, open while their policy changes.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bartizan_tests::agent::{Agent, HAND};
use bartizan_tests::network::SOON;
use bartizan_tests::network::frames::Way;
use bartizan_tests::network::servers::servers_only;
use serde_json::json;

use super::Networked;
use crate::world::World;

const FLOWS: u64 = 10_000;
const PORT: u16 = 7000;
/// Where the client notes what it sends, and the server what comes.
const SENT: &str = "/tmp/sent";
const CAME: &str = "/tmp/came";

/// Datagrams are numbered, and none that was sent once the new policy was confirmed has come.
pub(super) fn all_follow(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&servers_only(&[PORT]))?;
    let way = Way::to_web(&mut networked.client.agent, &mut networked.web.agent)?;
    begin(
        &mut networked.web.agent,
        CAME,
        &format!("sink {PORT} {CAME}"),
        "",
    )?;
    let frame = hex::encode(way.udp((1000, PORT), &[0; 8]));
    let send = format!("flows {FLOWS} {SENT}");
    begin(&mut networked.client.agent, SENT, &send, &frame)?;
    let came = follow(&mut networked);
    for (guest, file) in [(networked.client, SENT), (networked.web, CAME)] {
        guest
            .agent
            .must(&format!("kill $(cat {file}.pid); rm {file}"))?;
    }
    came
}

fn follow(networked: &mut Networked<'_>) -> Result<()> {
    let began = Instant::now();
    while came(networked)?.flows < FLOWS {
        ensure!(
            began.elapsed() < SOON,
            "not all are open: {:?}",
            came(networked)?
        );
    }
    let began = Instant::now();
    networked.apply(&json!([]))?;
    eprintln!(
        "{FLOWS} open flows: a new policy after {:?}",
        began.elapsed()
    );
    let confirmed = sent(networked)?;
    // Each flow sends twice more.
    let began = Instant::now();
    while sent(networked)? < confirmed + 2 * FLOWS {
        ensure!(began.elapsed() < SOON, "the client sends no more");
    }
    let came = came(networked)?;
    ensure!(came.highest < confirmed, "{confirmed} were sent: {came:?}");
    Ok(())
}

/// Starts the hand's program beside, and waits until it has begun its file.
fn begin(agent: &mut Agent, file: &str, arguments: &str, input: &str) -> Result<()> {
    agent.must(&format!(
        "rm -f {file}; echo {input} > {file}.in
        {HAND} {arguments} < {file}.in > /dev/null 2> {file}.err & echo $! > {file}.pid
        until [ -s {file} ]; do kill -0 $! || {{ cat {file}.err >&2; exit 1; }}; done"
    ))?;
    Ok(())
}

/// What the server has seen.
#[derive(Debug)]
struct Came {
    flows: u64,
    highest: u64,
}

fn came(networked: &mut Networked<'_>) -> Result<Came> {
    let [_, flows, highest] = numbers(&mut networked.web.agent, CAME)?;
    Ok(Came { flows, highest })
}

/// How many datagrams the client has sent at most.
fn sent(networked: &mut Networked<'_>) -> Result<u64> {
    let [sent] = numbers(&mut networked.client.agent, SENT)?;
    Ok(sent)
}

/// A file of numbers of eight bytes, the first one of which is the most significant.
fn numbers<const N: usize>(agent: &mut Agent, file: &str) -> Result<[u64; N]> {
    let printed = agent.must(&format!("od -An -v -tu8 --endian=big {file}"))?;
    let numbers = printed.split_whitespace().map(str::parse);
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
    numbers.try_into().ok().with_context(|| printed)
}
