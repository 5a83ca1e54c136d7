//! What a case came to, for programs and for people.

use std::fmt;

use serde::Serialize;

/// One case.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What it is one of.
    pub suite: &'static str,
    /// Its name in the suite.
    pub case: &'static str,
    /// The median over all rounds.
    pub value: f64,
    /// Of value and reference.
    pub unit: &'static str,
    /// What the value is held against.
    pub reference: &'static str,
    /// The sum of the medians of its parts.
    pub reference_value: f64,
    /// The value by the reference.
    pub ratio: f64,
    /// Of the ratio.
    pub better: Better,
    /// What the ratio is to be.
    #[serde(skip)]
    pub goal: f64,
    /// How often it was measured.
    #[serde(skip)]
    pub rounds: usize,
    /// Half the interquartile range of the value, relative to it.
    #[serde(skip)]
    pub spread: f64,
    /// What it is made up of, and what its reference is.
    #[serde(skip)]
    pub parts: Vec<Part>,
}

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less.
    Lower,
    /// More.
    Higher,
}

/// A line of the explanation.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// What it is.
    pub name: String,
    /// How long it takes.
    pub milliseconds: f64,
    /// Whether the reference contains it; else it is told beside.
    pub counted: bool,
}

impl Outcome {
    /// Whether the goal of the case is reached.
    #[must_use]
    pub fn reached(&self) -> bool {
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
            "\n{}: {:.2} {unit} against {:.2} {unit}, ratio {} (goal: {bound} {}, {verdict}); {} rounds, \u{b1}{:.0} %",
            self.case,
            self.value,
            self.reference_value,
            shown_ratio(self.ratio),
            self.goal,
            self.rounds,
            self.spread * 100.0,
            unit = self.unit,
        )?;
        writeln!(f, "  against: {}", self.reference)?;
        for part in &self.parts {
            let mark = if part.counted { ' ' } else { '*' };
            let took = shown_time(part.milliseconds);
            writeln!(f, "  {mark} {took:>13}  {}", part.name)?;
        }
        if self.parts.iter().any(|part| !part.counted) {
            writeln!(f, "  * not part of what it is held against")?;
        }
        Ok(())
    }
}

/// With two digits that count, however small it is.
fn shown_ratio(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.1e}")
    } else {
        format!("{ratio:.2}")
    }
}

fn shown_time(milliseconds: f64) -> String {
    if milliseconds < 0.01 {
        format!("{:.1} ns", milliseconds * 1e6)
    } else {
        format!("{milliseconds:.3} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_not_shown_as_nothing() {
        assert_eq!(shown_ratio(0.000_123), "1.2e-4");
        assert_eq!(shown_ratio(1.5), "1.50");
        assert_eq!(shown_time(0.000_15), "150.0 ns");
        assert_eq!(shown_time(1.5), "1.500 ms");
    }
}
