//! A host that is ordered to have its certificate renewed, and so asks the verifier, which serves it or refuses it for its boot.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bartizan_tests::operator::Operator;

/// How long a host may go on being refused for what is mended: its card repeats a refusal for two seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks once.
pub(crate) fn renew(at_host: &Operator) -> Result<()> {
    at_host.must(&["host", "renew"]).map(drop)
}

/// Asks until it is served, which was refused before.
pub(crate) fn served(at_host: &Operator) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = renew(at_host) {
        ensure!(Instant::now() < deadline, "never served: {error:#}");
    }
    Ok(())
}

/// Asks, and must be refused for this reason; what was said.
pub(crate) fn refused(at_host: &Operator, kind: &str) -> Result<String> {
    let refused = renew(at_host).err();
    let said = refused.with_context(|| format!("served, where {kind} is due"))?;
    let said = format!("{said:#}");
    ensure!(said.contains(kind), "{kind} is due: {said}");
    Ok(said)
}
