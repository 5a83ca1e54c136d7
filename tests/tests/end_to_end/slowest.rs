//! Which cases take the time: the suite is to stay short.

use std::time::Duration;

/// How many are named.
const NAMED: usize = 12;

/// Says which took longest.
pub(crate) fn tell(took: &mut [(Duration, &'static str)]) {
    took.sort_unstable_by(|one, other| other.cmp(one));
    let all: Duration = took.iter().map(|(took, _)| took).sum();
    eprintln!("slowest of {:.0} s:", all.as_secs_f64());
    for (took, name) in took.iter().take(NAMED) {
        eprintln!("  {:6.1} s  {name}", took.as_secs_f64());
    }
}
