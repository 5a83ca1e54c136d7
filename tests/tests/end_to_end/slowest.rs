//! Which cases take the time: the suite is to stay short.

use std::time::Duration;

/// How many are named.
const NAMED: usize = 12;

/// How long each case took.
#[derive(Default)]
pub(crate) struct Durations(Vec<(Duration, &'static str)>);

impl Durations {
    pub(crate) fn add(&mut self, name: &'static str, took: Duration) {
        self.0.push((took, name));
    }

    /// Says which took longest.
    pub(crate) fn tell(&mut self) {
        self.0.sort_unstable_by(|one, other| other.cmp(one));
        let all: Duration = self.0.iter().map(|(took, _)| took).sum();
        eprintln!("slowest of {:.0} s:", all.as_secs_f64());
        for (took, name) in self.0.iter().take(NAMED) {
            eprintln!("  {:6.1} s  {name}", took.as_secs_f64());
        }
    }
}
