//! A guest that is found to be another than it should be loses what its policies allow the trusted, at once and for what is established, too.

use std::time::Instant;

use anyhow::{Result, ensure};
use bartizan_tests::network::{self, Kept, Patience, SOON, pages_only};
use bartizan_tests::nginx::Nginx;
use bartizan_tests::stack::Guest;
use serde_json::json;

use crate::world::World;

const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";

/// One byte of nginx's text is patched, as root in the guest can, and what it served by a cached verdict is over with the verdict on it.
pub(super) fn is_cut(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    let nginx = Nginx::of(networked.web)?;
    found(networked.web, "affirming")?;
    let unless_contraindicated = json!({
        "roles": ["web", "client"], "trust": ["none", "affirming"],
    });
    networked.apply_to(&unless_contraindicated, &pages_only())?;
    let kept = Kept::open(networked.client, Patience { seconds: 5 })?;
    let client = &mut *networked.client;
    let cut = nginx.while_patched(networked.web, |web| {
        found(web, "contraindicated")?;
        let began = Instant::now();
        while network::page(client, 2)? {
            ensure!(
                began.elapsed() < SOON,
                "a page of a guest that is contraindicated"
            );
        }
        eprintln!(
            "cut {:?} after the verdict, 2 s of which are a page's",
            began.elapsed()
        );
        let then = kept.answers(client)?;
        client.agent.must("sleep 3")?;
        let later = kept.answers(client)?;
        // What had been answered by then may be told of late, once.
        ensure!(later <= then + 1, "answered on: {then}, then {later}");
        Ok(())
    });
    let again = cut.and_then(|()| {
        found(networked.web, "affirming")?;
        let began = Instant::now();
        while !networked.page(20)? {
            ensure!(
                began.elapsed() < SOON,
                "no page of a guest that is affirmed again"
            );
        }
        Ok(())
    });
    // Whatever came out: the other cases need it.
    networked.apply(&pages_only())?;
    again?;
    kept.close(networked.client)
}

/// Has nginx measured and judged.
fn found(web: &mut Guest, status: &str) -> Result<()> {
    let (_, answer) = web.attest(NGINX)?;
    ensure!(answer["status"] == status, "{status} is due: {answer}");
    Ok(())
}
