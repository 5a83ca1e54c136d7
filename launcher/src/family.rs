//! What was started: kept, and started again from the same memory file when it ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use bartizan_boot::{Link, Start, placeholder};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::accounts::account;
use crate::confinement::capabilities;
use crate::execution::Execution;
use crate::measured::Measured;
use crate::program::Program;
use crate::readiness::{Heard, Readiness, timespec};

/// How long a program may take until it serves.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between the end of a program and its next start; doubled each time.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A program that ran for so long is not one that cannot.
const SETTLED: Duration = Duration::from_secs(60);

/// The exit code of a program that must not be tried again (EX_CONFIG of sysexits.h): a vault whose token refused the PIN.
const NOT_AGAIN: i32 = 78;

/// The files that were measured, by component.
pub type Files = BTreeMap<String, Measured>;

/// The programs that were started.
#[derive(Debug)]
pub struct Family {
    members: Vec<Member>,
    state_dir: PathBuf,
    log_dir: Option<PathBuf>,
}

#[derive(Debug)]
struct Member {
    name: String,
    start: Start,
    running: Option<Running>,
    delay: Duration,
    /// When it is started again.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    ended: OwnedFd,
    since: Instant,
    /// Until it has said that it serves.
    awaited: Option<Readiness>,
}

/// What has happened to a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// It is to be started again.
    Due(String),
    /// It was started again, and serves.
    Serves(String),
}

impl Family {
    /// Nobody yet; sockets go into `state_dir`, logs into `log_dir` or to standard error.
    #[must_use]
    pub const fn new(state_dir: PathBuf, log_dir: Option<PathBuf>) -> Self {
        Self {
            members: Vec::new(),
            state_dir,
            log_dir,
        }
    }

    /// Starts a program and waits until it serves; a stage of the coordinator is not waited for. Answers this side's end of
    /// its link, if it has one.
    pub fn start(
        &mut self,
        files: &Files,
        name: &str,
        start: &Start,
    ) -> io::Result<Option<UnixStream>> {
        let (mut running, link) = self.spawn(files, name, start)?;
        if start.link != Some(Link::Coordinator) {
            running.wait()?;
        }
        self.members.push(Member {
            name: name.into(),
            start: start.clone(),
            running: Some(running),
            delay: FIRST_DELAY,
            due: None,
        });
        Ok(link)
    }

    fn spawn(
        &self,
        files: &Files,
        name: &str,
        start: &Start,
    ) -> io::Result<(Running, Option<UnixStream>)> {
        let execution = Execution::of(files, name).ok_or_else(not_measured)?;
        let argument = |argument: &String| match placeholder(argument) {
            Some(file) => files.get(file).map(Measured::path).ok_or_else(not_measured),
            None => Ok(argument.clone()),
        };
        let own = start.arguments.iter().map(argument);
        let own = own.collect::<io::Result<Vec<_>>>()?;
        let arguments = [execution.arguments, own].concat();
        let account = account(&start.user).map_err(io::Error::other)?;
        let readiness = Readiness::new(&self.state_dir, name, account)?;
        let (ours, theirs) = match start.link {
            Some(_) => {
                let (ours, theirs) = UnixStream::pair()?;
                (Some(ours), Some(theirs.into()))
            }
            None => (None, None),
        };
        let inherited = files.iter().filter(|(file, _)| start.inherits(file));
        let mut child = Program {
            name,
            path: execution.path,
            arguments,
            account,
            environment: start.variables().collect(),
            capabilities: capabilities(start.capabilities.iter().copied()),
            files: inherited
                .map(|(name, file)| (name.as_str(), file.descriptor()))
                .collect(),
            kept: execution.files,
            link: theirs,
            notify: Some(readiness.path()),
            log: self.log(name)?,
        }
        .spawn()?;
        let ended = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(ended) => ended,
            Err(error) => {
                // It was not waited for yet: its pid cannot be another's.
                child.kill()?;
                child.wait()?;
                return Err(error.into());
            }
        };
        let running = Running {
            child,
            ended,
            since: Instant::now(),
            awaited: Some(readiness),
        };
        Ok((running, ours))
    }

    fn log(&self, name: &str) -> io::Result<Option<File>> {
        let open = |folder: &PathBuf| {
            let path = folder.join(format!("{}.log", name.replace('/', "-")));
            File::options().create(true).append(true).open(path)
        };
        self.log_dir.as_ref().map(open).transpose()
    }

    /// Waits until something happens; `None` where nothing ever will.
    pub fn wait(&mut self) -> io::Result<Option<Happened>> {
        loop {
            let now = Instant::now();
            let due = self.members.iter().filter_map(|member| member.due).min();
            if let Some(member) = self
                .members
                .iter_mut()
                .find(|m| m.due.is_some_and(|at| at <= now))
            {
                member.due = None;
                return Ok(Some(Happened::Due(member.name.clone())));
            }
            if let Some(name) = self.served() {
                return Ok(Some(Happened::Serves(name)));
            }
            let running: Vec<_> = self
                .members
                .iter()
                .filter_map(|m| m.running.as_ref())
                .collect();
            if running.is_empty() && due.is_none() {
                return Ok(None);
            }
            let timeout = due.map(|due| timespec(due.saturating_duration_since(now)));
            let mut polled: Vec<_> = running
                .iter()
                .flat_map(|running| {
                    let socket = running.awaited.as_ref().map(Readiness::socket);
                    [Some(running.ended.as_fd()), socket]
                })
                .flatten()
                .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
                .collect();
            match poll(&mut polled, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.reap()?;
        }
    }

    /// A program that has just said that it serves.
    fn served(&mut self) -> Option<String> {
        self.members.iter_mut().find_map(|member| {
            let running = member.running.as_mut()?;
            let program = running.pid();
            let awaited = running.awaited.as_ref();
            let serves = awaited.is_some_and(|readiness| readiness.heard(program));
            serves.then(|| {
                running.awaited = None;
                member.name.clone()
            })
        })
    }

    fn reap(&mut self) -> io::Result<()> {
        for member in &mut self.members {
            let Some(running) = &mut member.running else {
                continue;
            };
            let Some(status) = running.child.try_wait()? else {
                continue;
            };
            if running.since.elapsed() >= SETTLED {
                member.delay = FIRST_DELAY;
            }
            member.running = None;
            if member.start.link == Some(Link::Coordinator) {
                // Its work is done, or it has said why not.
                continue;
            }
            if status.code() == Some(NOT_AGAIN) {
                eprintln!(
                    "{} ended, and is not started again: its log says what is to be set right first",
                    member.name
                );
                continue;
            }
            eprintln!(
                "{} ended ({status}); it is started again in {} s",
                member.name,
                member.delay.as_secs()
            );
            member.put_off();
        }
        Ok(())
    }

    /// Starts a member again, from the memory file that was measured, and does not wait until it serves: it may need another
    /// one that is to be started again. Answers this side's end of its new link.
    pub fn start_again(&mut self, files: &Files, name: &str) -> io::Result<Option<UnixStream>> {
        let Some(at) = self.members.iter().position(|member| member.name == name) else {
            return Err(not_measured());
        };
        let start = self.members.get(at).map(|member| member.start.clone());
        let start = start.ok_or_else(not_measured)?;
        let spawned = self.spawn(files, name, &start);
        let member = self.members.get_mut(at).ok_or_else(not_measured)?;
        match spawned {
            Ok((running, link)) => {
                member.running = Some(running);
                Ok(link)
            }
            Err(error) => {
                member.put_off();
                Err(error)
            }
        }
    }

    /// Ends a member, to be started again.
    pub fn end(&mut self, name: &str) {
        let member = self.members.iter_mut().find(|member| member.name == name);
        if let Some(running) = member.and_then(|member| member.running.as_mut()) {
            // It may have ended by itself.
            let _ = running.child.kill();
        }
    }
}

impl Running {
    /// Nobody else's, as long as it was not waited for.
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until it serves; one that does not has ended then.
    fn wait(&mut self) -> io::Result<()> {
        let Some(readiness) = self.awaited.take() else {
            return Ok(());
        };
        let why = match readiness.wait(self.pid(), &self.ended, PATIENCE)? {
            Heard::Ready => return Ok(()),
            Heard::Ended => format!("it ended, {}; its log says why", self.child.wait()?),
            Heard::Nothing => {
                self.child.kill()?;
                self.child.wait()?;
                format!("it did not become ready within {} s", PATIENCE.as_secs())
            }
        };
        Err(io::Error::other(why))
    }
}

impl Member {
    fn put_off(&mut self) {
        self.due = Some(Instant::now() + self.delay);
        self.delay = (2 * self.delay).min(LONGEST_DELAY);
    }
}

fn not_measured() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        "a file that it needs was not measured",
    )
}
