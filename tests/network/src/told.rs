//! What a case came to, in frames a second.

use std::time::Duration;

use anyhow::Result;
use bartizan_measuring::{Better, Outcome, Part, Samples};
use rustix::time::{ClockId, clock_gettime};

/// How often each side is measured.
pub(crate) const ROUNDS: usize = 21;
/// And before that counts.
pub(crate) const WARM_UP: usize = 2;

/// Of what a frame takes with us and in what it is held against.
pub(crate) fn outcome(
    case: &'static str,
    goal: f64,
    reference: &'static str,
    ours: &Samples,
    theirs: &Samples,
) -> Outcome {
    let a_second = |samples: &Samples| 1.0 / samples.median();
    let part = |name: &str, samples: &Samples| Part {
        name: name.into(),
        milliseconds: samples.median() * 1e3,
        counted: true,
    };
    Outcome {
        suite: "network",
        case,
        value: a_second(ours),
        unit: "frames/s",
        reference,
        reference_value: a_second(theirs),
        ratio: a_second(ours) / a_second(theirs),
        better: Better::Higher,
        goal,
        rounds: ROUNDS,
        spread: ours.spread(),
        parts: vec![
            part("a frame of ours", ours),
            part("a frame of what it is held against", theirs),
        ],
    }
}

/// What `work` takes of a processor, in this thread alone: what others take meanwhile is none of it.
pub(crate) fn computed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let begun = processor_time()?;
    work()?;
    Ok(processor_time()?.saturating_sub(begun))
}

/// What this thread has had of processors until now.
pub(crate) fn processor_time() -> Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))?)
}
