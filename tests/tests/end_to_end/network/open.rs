//! As many flows as a guest has at a busy time, open while their policy changes.

use std::time::Instant;

use anyhow::{Result, ensure};
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
    let web = &mut networked.web.agent;
    web.begin(CAME, &format!("sink {PORT} {CAME}"), "")?;
    let frame = hex::encode(way.udp((1000, PORT), &[0; 8]));
    let client = &mut networked.client.agent;
    client.begin(SENT, &format!("flows {FLOWS} {SENT}"), &frame)?;
    let came = follow(&mut networked);
    let ended = [(networked.client, SENT), (networked.web, CAME)]
        .map(|(guest, file)| guest.agent.end(file));
    came?;
    ended.into_iter().collect()
}

fn follow(networked: &mut Networked<'_>) -> Result<()> {
    wait(networked, "not all are open", |came| came.flows >= FLOWS)?;
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
    let last = came(networked)?;
    ensure!(last.highest < confirmed, "{confirmed} were sent: {last:?}");
    // It was the policy: by another one they come again.
    networked.apply(&servers_only(&[PORT]))?;
    let again = |came: &Came| came.highest > confirmed + 2 * FLOWS;
    wait(networked, "allowed again, and none comes", again)
}

fn wait(networked: &mut Networked<'_>, what: &str, is_so: impl Fn(&Came) -> bool) -> Result<()> {
    let began = Instant::now();
    loop {
        let came = came(networked)?;
        if is_so(&came) {
            return Ok(());
        }
        ensure!(began.elapsed() < SOON, "{what}: {came:?}");
    }
}

/// What the server has seen.
#[derive(Debug)]
struct Came {
    flows: u64,
    highest: u64,
}

fn came(networked: &mut Networked<'_>) -> Result<Came> {
    let [_, flows, highest] = networked.web.agent.numbers(CAME)?;
    Ok(Came { flows, highest })
}

/// How many datagrams the client has sent at most.
fn sent(networked: &mut Networked<'_>) -> Result<u64> {
    let [sent] = networked.client.agent.numbers(SENT)?;
    Ok(sent)
}
