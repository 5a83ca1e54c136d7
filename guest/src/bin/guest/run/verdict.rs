//! Waiting for a verdict, which a thread of its own asks for: the tool goes on to hear signals and ends of processes, and
//! waits no longer than it was told to, whatever the program does to have its judgement last.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use nix::sys::signal::Signal;

use super::events::{Event, Events};
use super::family::Family;
use super::judging::JudgeError;

/// A thread that will judge a program.
pub(super) struct Judge {
    thread: JoinHandle<Result<(), JudgeError>>,
    /// Tells it which process was started.
    first: Sender<u32>,
    /// Closed at the other end when the thread ends.
    ended: UnixStream,
}

impl Judge {
    /// Starts the thread. Before the program: that may leave no room for another.
    pub(super) fn start(
        judge: impl FnOnce(u32) -> Result<(), JudgeError> + Send + 'static,
    ) -> io::Result<Self> {
        let (done, ended) = UnixStream::pair()?;
        let (first, started) = channel();
        let thread = Builder::new().name("judge".into()).spawn(move || {
            // Closed when this ends, however it does.
            let _done = done;
            started.recv().map_or(Err(JudgeError::NotRunning), judge)
        })?;
        Ok(Self {
            thread,
            first,
            ended,
        })
    }

    /// Has a started program judged while it runs, for so long. `None` when it is affirmed; a signal when the tool shall end
    /// before that.
    pub(super) fn of(
        self,
        family: &mut Family,
        events: &Events,
        within: Duration,
    ) -> Result<Option<Signal>> {
        let deadline = Instant::now() + within;
        // Who does not receive it has ended.
        self.first.send(family.first()).ok();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match events.next(Some(&self.ended), Some(left))? {
                Event::Done => break,
                Event::Signal(Signal::SIGCHLD) => {
                    family.reap();
                    if family.is_gone() {
                        bail!("{} before it was affirmed", family.end_of_first());
                    }
                }
                Event::Signal(signal) => return Ok(Some(signal)),
                Event::Timeout => {}
            }
            if Instant::now() >= deadline {
                return Err(JudgeError::TooLate(within).into());
            }
        }
        match self.thread.join() {
            Ok(Ok(())) => Ok(None),
            // Told apart for the exit code.
            Ok(Err(JudgeError::Attestation(error))) => Err(error.into()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(anyhow!("the judging thread panicked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::channel;

    use super::super::family::tests::alone;
    use super::*;

    /// Starts a program that runs until it is killed, and has it judged so.
    fn judged(
        within: Duration,
        judge: impl FnOnce(u32) -> Result<(), JudgeError> + Send + 'static,
    ) -> Result<Option<Signal>> {
        let _alone = alone();
        let events = Events::catch()?;
        let judge = Judge::start(judge)?;
        let mut family = Family::of(Command::new("sleep").arg("1000").spawn()?.id());
        let judged = judge.of(&mut family, &events, within);
        family.end(&events)?;
        judged
    }

    #[test]
    fn a_judgement_that_never_comes_is_given_up() {
        let (_never, waits) = channel::<()>();
        let refused = judged(Duration::from_millis(100), move |_| {
            waits.recv_timeout(Duration::from_secs(60)).ok();
            Ok(())
        });
        let refused = refused.unwrap_err();
        let error = refused.downcast_ref::<JudgeError>();
        assert!(matches!(error, Some(JudgeError::TooLate(_))), "{refused}");
    }

    #[test]
    fn only_what_was_judged_well_is_affirmed() {
        let within = Duration::from_secs(60);
        assert_eq!(judged(within, |_| Ok(())).unwrap(), None);
        let refused = judged(within, |_| Err(JudgeError::NotRunning)).unwrap_err();
        assert!(refused.is::<JudgeError>(), "{refused}");
        assert!(judged(within, |_| panic!("on purpose")).is_err());
    }

    #[test]
    fn a_judge_without_a_program_ends() {
        let Judge { thread, first, .. } = Judge::start(|_| Ok(())).unwrap();
        drop(first);
        assert!(matches!(
            thread.join().unwrap(),
            Err(JudgeError::NotRunning)
        ));
    }
}
