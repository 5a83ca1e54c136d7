//! A guest is cut from every network by one order of an operator's, whatever its policies allow.

use anyhow::{Result, ensure};
use bartizan_tests::enrolled::Enrolled;
use bartizan_tests::network::{Kept, Patience, pages_only};

use super::Networked;
use crate::world::World;

/// What is said to be done is so: no packet passes from then on, and what was allowed does once it is taken back.
pub(super) fn one_order(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&pages_only())?;
    let kept = Kept::open(networked.client, Patience { seconds: 5 })?;
    order(&mut networked, "isolate")?;
    let cut = is_cut(&mut networked, &kept);
    // Whatever came out: the other cases need it.
    order(&mut networked, "release")?;
    cut?;
    kept.close(networked.client)?;
    ensure!(networked.page(20)?, "no page, which a rule allows again");
    Ok(())
}

fn is_cut(networked: &mut Networked<'_>, kept: &Kept) -> Result<()> {
    let then = kept.answers(networked.client)?;
    networked.client.agent.must("sleep 3")?;
    let later = kept.answers(networked.client)?;
    // What had been answered by then may be told of late, once.
    ensure!(later <= then + 1, "answered on: {then}, then {later}");
    ensure!(!networked.page(5)?, "a page of a guest that is isolated");
    // Whoever decides next knows of it, from devices and from its own state.
    super::remembered::started_again(networked)?;
    networked.apply(&pages_only())?;
    ensure!(!networked.page(5)?, "a page of a guest that was isolated");
    Ok(())
}

fn order(networked: &mut Networked<'_>, command: &str) -> Result<()> {
    let guest = Enrolled::of(networked.web)?.guest;
    let urn = guest.to_string();
    let operator = &networked.stack.operator;
    operator.must(&["guest", command, &urn, "--reason", "to see that it is"])?;
    Ok(())
}
