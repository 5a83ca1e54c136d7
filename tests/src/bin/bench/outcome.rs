//! What a case came to, for programs and for people.

use std::fmt;

use serde::Serialize;

/// The suite of what measures memory.
pub(crate) const SUITE: &str = "memory";

/// One case.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) suite: &'static str,
    pub(crate) case: &'static str,
    /// The median over all rounds.
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// What the value is held against.
    pub(crate) reference: &'static str,
    /// The sum of the medians of its parts.
    pub(crate) reference_value: f64,
    pub(crate) ratio: f64,
    pub(crate) better: Better,
    #[serde(skip)]
    pub(crate) goal: f64,
    #[serde(skip)]
    pub(crate) rounds: usize,
    /// Half the interquartile range of the value, relative to it.
    #[serde(skip)]
    pub(crate) spread: f64,
    #[serde(skip)]
    pub(crate) parts: Vec<Part>,
}

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// A line of the explanation.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) milliseconds: f64,
    /// Whether the reference contains it; else it is told beside.
    pub(crate) counted: bool,
}

impl Outcome {
    /// Whether the goal of the case is reached.
    pub(crate) fn reached(&self) -> bool {
        match self.better {
            Better::Lower => self.ratio <= self.goal,
            Better::Higher => self.ratio >= self.goal,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bound, verdict) = (
            match self.better {
                Better::Lower => "at most",
                Better::Higher => "at least",
            },
            if self.reached() {
                "reached"
            } else {
                "NOT reached"
            },
        );
        writeln!(
            f,
            "\n{}: {:.2} {unit} against {:.2} {unit}, ratio {:.2} (goal: {bound} {}, {verdict}); {} rounds, \u{b1}{:.0} %",
            self.case,
            self.value,
            self.reference_value,
            self.ratio,
            self.goal,
            self.rounds,
            self.spread * 100.0,
            unit = self.unit,
        )?;
        writeln!(f, "  against: {}", self.reference)?;
        for part in &self.parts {
            let mark = if part.counted { ' ' } else { '*' };
            writeln!(f, "  {mark} {:>10.3} ms  {}", part.milliseconds, part.name)?;
        }
        if self.parts.iter().any(|part| !part.counted) {
            writeln!(f, "  * not part of what it is held against")?;
        }
        Ok(())
    }
}
