//! Processes of the stack, seen from outside: what /proc says of them, and their end.

mod descriptors;
mod mapping;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

pub use mapping::Mapping;

/// A process, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process(Pid);

/// The end of a process, to be awaited.
#[derive(Debug)]
pub struct End(OwnedFd);

impl Process {
    /// The process with this number.
    pub fn of(pid: u32) -> Result<Self> {
        let pid = Pid::from_raw(pid.cast_signed()).context("a pid is not 0")?;
        Ok(Self(pid))
    }

    /// The process whose number a command printed.
    pub fn of_json(pid: &Value) -> Result<Self> {
        let pid = pid.as_u64().context("there is no such process now")?;
        Self::of(u32::try_from(pid)?)
    }

    /// Its number.
    #[must_use]
    pub fn pid(self) -> u32 {
        self.0.as_raw_nonzero().get().unsigned_abs()
    }

    /// Who started it.
    pub fn parent(self) -> Result<Self> {
        Self::of(self.status("PPid")?.parse()?)
    }

    /// Kills it (SIGKILL).
    pub fn kill(self) -> Result<()> {
        Ok(kill_process(self.0, Signal::KILL)?)
    }

    /// Stops it (SIGSTOP): it is there, and does nothing.
    pub fn stop(self) -> Result<()> {
        Ok(kill_process(self.0, Signal::STOP)?)
    }

    /// Lets it go on (SIGCONT).
    pub fn go_on(self) -> Result<()> {
        Ok(kill_process(self.0, Signal::CONT)?)
    }

    /// A hold on its end, to be taken before it ends.
    pub fn end(self) -> Result<End> {
        Ok(End(pidfd_open(self.0, PidfdFlags::empty())?))
    }

    /// The file name of its program; of one that a launcher measured, the component's name.
    pub fn program(self) -> Result<String> {
        let program = fs::read_link(self.path("exe"))?;
        let name = program_name(&program).context("a program has a name")?;
        Ok(name.to_owned())
    }

    /// Those that it started, whichever of its threads did.
    pub fn children(self) -> Result<Vec<Self>> {
        let mut children = Vec::new();
        for thread in fs::read_dir(self.path("task"))? {
            // One that ended meanwhile has left its children to another one.
            let listed = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            for pid in listed.split_whitespace() {
                children.push(Self::of(pid.parse()?)?);
            }
        }
        Ok(children)
    }

    /// The first word of a field of /proc/PID/status.
    pub fn status(self, field: &str) -> Result<String> {
        let status = fs::read_to_string(self.path("status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .with_context(|| format!("/proc has no {field}"))?;
        Ok(line.split_whitespace().next().unwrap_or("").to_owned())
    }

    /// What it was started with, its own name aside.
    pub fn arguments(self) -> Result<Vec<String>> {
        let line = fs::read_to_string(self.path("cmdline"))?;
        let words = line.split_terminator('\0').skip(1);
        Ok(words.map(str::to_owned).collect())
    }

    /// How many sockets it has.
    pub fn sockets(self) -> Result<usize> {
        let open = fs::read_dir(self.path("fd"))?.flatten();
        let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        Ok(targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count())
    }

    /// CPU time of all its threads.
    pub fn cpu_time(self) -> Result<Duration> {
        let stat = fs::read_to_string(self.path("stat"))?;
        // proc_pid_stat(5): after the name, which may have anything in it, the first field is the third.
        let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
        let mut times = fields.split_whitespace().skip(11);
        let mut ticks = || -> Result<u64> { Ok(times.next().context("a time")?.parse()?) };
        let all = ticks()? + ticks()?;
        Ok(Duration::from_millis(
            all * 1000 / rustix::param::clock_ticks_per_second(),
        ))
    }

    /// Memory of its own in bytes: resident, and no file's; guests' RAM is a file.
    pub fn own_memory(self) -> Result<u64> {
        Ok(self.status("RssAnon")?.parse::<u64>()? << 10)
    }

    /// With which permissions it maps the file with this inode number, of all its mappings together.
    pub fn mapped(self, inode: u64) -> Result<BTreeSet<char>> {
        let mappings = self.mappings()?;
        let of_file = mappings.iter().filter(|mapping| mapping.inode == inode);
        let permissions = of_file.flat_map(|mapping| mapping.permissions.chars());
        Ok(permissions.filter(|c| "rwx".contains(*c)).collect())
    }

    /// The files that it has mapped to be executed.
    pub fn executed(self) -> Result<BTreeSet<String>> {
        let executed = self
            .mappings()?
            .into_iter()
            .filter(|mapping| mapping.permissions.contains('x') && mapping.path.starts_with('/'));
        // A file whose name has white space in it, as one that was removed, goes by its first word.
        let first = |path: String| path.split(' ').next().map(str::to_owned);
        Ok(executed.filter_map(|mapping| first(mapping.path)).collect())
    }

    /// What it has mapped.
    pub fn mappings(self) -> Result<Vec<Mapping>> {
        let maps = fs::read_to_string(self.path("maps"))?;
        maps.lines().map(Mapping::read).collect()
    }

    /// Whether it has the memory of another process open, `/proc/PID/mem`.
    #[must_use]
    pub fn has_memory_of(self, other: Self) -> bool {
        let memory = Path::new("/proc").join(other.pid().to_string());
        let descriptors = fs::read_dir(self.path("fd"));
        let mut open = descriptors.into_iter().flatten().flatten();
        open.any(|entry| {
            let target = fs::read_link(entry.path());
            target.is_ok_and(|target| target.starts_with(&memory) && target.ends_with("mem"))
        })
    }

    /// How many descriptors it has.
    pub fn open_descriptors(self) -> Result<usize> {
        Ok(fs::read_dir(self.path("fd"))?.count())
    }

    /// The kinds of its descriptors above standard error.
    pub fn descriptors(self) -> Result<BTreeSet<String>> {
        descriptors::kinds(&self.path("fd"))
    }

    /// Where its open descriptor with this target leads: the inode number of the file.
    pub fn inode_of(self, target: &str) -> Result<Option<u64>> {
        use std::os::unix::fs::MetadataExt;
        for entry in fs::read_dir(self.path("fd"))?.flatten() {
            let leads_to = fs::read_link(entry.path());
            if leads_to.is_ok_and(|to| to.to_string_lossy().starts_with(target)) {
                return Ok(Some(fs::metadata(entry.path())?.ino()));
            }
        }
        Ok(None)
    }

    fn path(self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid())
    }
}

/// What a process is called by what its `/proc/PID/exe` leads to.
#[must_use]
pub fn program_name(program: &Path) -> Option<&str> {
    let measured = program.to_str()?.strip_prefix("/memfd:measured/");
    let name = measured.or_else(|| program.file_name()?.to_str())?;
    let name = name.trim_end_matches(" (deleted)");
    // Executed by its own loader.
    Some(name.strip_suffix("/loader").unwrap_or(name))
}

impl End {
    /// Waits for it.
    pub fn wait(&self, deadline: Duration) -> Result<()> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let timeout = Timespec {
            tv_sec: deadline.as_secs().cast_signed(),
            tv_nsec: 0,
        };
        let ended = poll(&mut fds, Some(&timeout))?;
        ensure!(ended > 0, "a process has not ended within {deadline:?}");
        Ok(())
    }
}
