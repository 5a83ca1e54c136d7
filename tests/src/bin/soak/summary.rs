//! What came of a soak, for programs and for people.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::footprint::Footprints;

/// How often each came about.
pub(crate) type Counts = BTreeMap<String, u64>;

#[derive(Serialize)]
pub(crate) struct Summary {
    pub(crate) ok: bool,
    pub(crate) seed: u64,
    pub(crate) minutes: u64,
    /// What came about how often, by what it was: verdicts by status, for one.
    #[serde(flatten)]
    pub(crate) counts: BTreeMap<&'static str, Counts>,
    /// How often each process was killed.
    pub(crate) kills: BTreeMap<&'static str, u64>,
    /// What each process held in the calm, early and late.
    pub(crate) early: Footprints,
    pub(crate) late: Footprints,
    /// Why it is not ok.
    pub(crate) problems: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nseed {}, {} minutes", self.seed, self.minutes)?;
        for (what, counts) in &self.counts {
            writeln!(f, "{what}: {counts:?}")?;
        }
        writeln!(f, "kills: {:?}", self.kills)?;
        writeln!(f, "held in the calm, early \u{2192} late:")?;
        for (name, late) in &self.late {
            let early = self.early.get(name).copied().unwrap_or_default();
            writeln!(
                f,
                "  {name}: {} \u{2192} {} KiB, {} \u{2192} {} descriptors, {} \u{2192} {} threads",
                early.memory >> 10,
                late.memory >> 10,
                early.descriptors,
                late.descriptors,
                early.threads,
                late.threads,
            )?;
        }
        for problem in &self.problems {
            writeln!(f, "\u{2717} {problem}")?;
        }
        let verdict = if self.ok {
            "\u{2713} all held"
        } else {
            "NOT all held"
        };
        writeln!(f, "{verdict}")
    }
}
