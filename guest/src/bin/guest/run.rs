//! `bartizan-guest run`: a program is started, attested, and goes on only if it is affirmed.
//!
//! ```text
//!   started ──► judged ──affirmed──► served until its end; its exit code is ours
//!                  │
//!                  └─ refused, no verdict in time, or this tool is told to end ──► it and all that it started are ended
//! ```
//!
//! The tool is the subreaper (prctl(2)) of what it starts: a process that loses its parent becomes the tool's own child,
//! so that none gets out of sight by becoming a daemon.

mod descendant;
mod events;
mod family;
mod judging;
mod processes;
mod program;
mod user;
mod verdict;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use bartizan_guest::{Application, Enrollment, HostApi};
use clap::Args;
use nix::sys::signal::Signal;

use events::{Event, Events};
use family::Family;
use program::Program;
use verdict::Judge;

pub(crate) use program::{START, become_program};
pub(crate) use user::User;

/// When to look again for the end of a program that is no child of this process.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What to run, and as which application.
#[derive(Args)]
pub(crate) struct Run {
    /// The application's registered name.
    #[arg(long)]
    application: String,
    /// Who shall accept the token.
    #[arg(long, default_value = "local")]
    audience: String,
    /// Seconds in which the program must have mapped all its code, or be found again if it becomes a daemon.
    #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=3600))]
    patience: u64,
    /// Seconds beyond the patience in which there must be a verdict, whatever the program and the host do.
    #[arg(long, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Most MiB that processes of the program may map to be executed, all together; the host refuses more than its launch
    /// record's `budget.bytes_per_request`.
    #[arg(long, default_value_t = super::DEFAULT_MAX_MIB, value_name = "MIB", value_parser = super::max_mib())]
    max_mib: u64,
    /// Run the program as this user of /etc/passwd, with its groups and with the tool's environment; only root may. It can
    /// then neither read the guest's key nor kill or stop the tool.
    #[arg(long, value_name = "NAME", value_parser = User::named)]
    user: Option<User>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    program: Vec<String>,
}

/// Runs it to its end.
pub(crate) fn run(host: HostApi, enrollment: Enrollment, run: &Run) -> Result<ExitCode> {
    // Before any thread: they inherit which signals wait to be read.
    let events = Events::catch().context("signals cannot be caught")?;
    let (name, arguments) = run
        .program
        .split_first()
        .context("name a program after `--`")?;
    let program = Program::find(name)?;
    let judge = judge(host, enrollment, run, &program).context("no thread can be started")?;
    let mut family = Family::start(&program, arguments, run.user.as_ref())?;
    let within = Duration::from_secs(run.patience + run.timeout);
    match judge.of(&mut family, &events, within) {
        Ok(None) => {
            eprintln!("bartizan-guest: {name} is affirmed");
            serve(&events, &mut family, &program)
        }
        Ok(Some(signal)) => {
            family.end(&events)?;
            Ok(ended_by(signal))
        }
        Err(error) => {
            let context = match family.end(&events) {
                Ok(()) => format!("{name} is not affirmed; it and all that it started were ended"),
                Err(alive) => format!("{name} is not affirmed, and not ended: {alive}"),
            };
            Err(error.context(context))
        }
    }
}

/// What will judge the program once it is started.
fn judge(host: HostApi, enrollment: Enrollment, run: &Run, program: &Program) -> io::Result<Judge> {
    let file = program.file();
    let patience = Duration::from_secs(run.patience);
    let max_bytes = run.max_mib << 20;
    let (application, audience) = (run.application.clone(), run.audience.clone());
    Judge::start(move |first| {
        judging::judge(
            || processes::instance(file, first),
            |pid| {
                let application = Application {
                    max_bytes,
                    ..Application::process(&application, &audience, pid)
                };
                judging::ask(&host, &enrollment, &application)
            },
            patience,
        )
    })
}

/// Passes signals on until the program has ended.
fn serve(events: &Events, family: &mut Family, program: &Program) -> Result<ExitCode> {
    loop {
        family.reap();
        if let Some(code) = family.over(program) {
            return Ok(ExitCode::from(code));
        }
        // Of a process that is not our child we are told nothing.
        let timeout = family.is_orphaned().then_some(LOOK_AGAIN);
        match events.next(None, timeout)? {
            Event::Signal(Signal::SIGCHLD) | Event::Done | Event::Timeout => {}
            Event::Signal(signal) => family.pass_on(signal, program),
        }
    }
}

/// What shells make of a death by signal.
fn ended_by(signal: Signal) -> ExitCode {
    ExitCode::from(family::code_of_signal(signal))
}
