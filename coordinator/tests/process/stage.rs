//! A stage that runs, and its launcher's end of the link.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bartizan_boot::{CoordinatorAnswer, CoordinatorStep, Refusal};
use bartizan_local::{FrameError, read_frame, write_frame};

/// One that says nothing for so long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when dropped.
pub(crate) struct Stage {
    process: Child,
    link: UnixStream,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Stage {
    pub(crate) fn program(name: &str) -> &'static str {
        match name {
            "stage1" => env!("CARGO_BIN_EXE_bartizan-stage1"),
            "stage2" => env!("CARGO_BIN_EXE_bartizan-stage2"),
            other => panic!("no stage {other}"),
        }
    }

    pub(crate) fn command(name: &str) -> Command {
        Command::new(Self::program(name))
    }

    /// With a link in the place of standard input.
    pub(crate) fn start(mut command: Command) -> Self {
        let (link, its) = UnixStream::pair().unwrap();
        link.set_read_timeout(Some(PATIENCE)).unwrap();
        let process = command
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, link }
    }

    pub(crate) fn says(&mut self) -> CoordinatorStep {
        read_frame(&mut self.link, CoordinatorStep::MAX_FRAME).unwrap()
    }

    pub(crate) fn hears(&mut self, answer: &CoordinatorAnswer) {
        write_frame(&mut self.link, answer, CoordinatorStep::MAX_FRAME).unwrap();
    }

    /// As the kernel sees it now.
    pub(crate) fn is_confined(&self) {
        let shown = |what| fs::read_to_string(format!("/proc/{}/{what}", self.process.id()));
        let status = shown("status").unwrap();
        for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "Threads:\t1\n"] {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        let limits = shown("limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        // Now, and as the most that it could be.
        let core: Vec<_> = core.unwrap().split_whitespace().skip(4).take(2).collect();
        assert_eq!(core, ["0", "0"]);
    }

    /// What it wrote to its log.
    pub(crate) fn succeeds(mut self) -> String {
        let (status, log) = self.ends();
        assert!(status.success(), "{status}: {log}");
        log
    }

    /// By itself, with an exit code.
    pub(crate) fn fails(mut self) -> String {
        let (status, log) = self.ends();
        assert_eq!(status.code(), Some(1), "{status}: {log}");
        log
    }

    /// Says to the launcher that it cannot go on and why, in these words, and nothing else.
    pub(crate) fn refuses(mut self, words: &[&str]) {
        let said = self.says();
        let CoordinatorStep::Fail(Refusal::Manifest(why)) = said else {
            panic!("it goes on, by {said:?}");
        };
        let log = self.fails();
        for word in words {
            assert!(why.contains(word), "{why}");
            assert!(log.contains(word), "{log}");
        }
    }

    fn ends(&mut self) -> (ExitStatus, String) {
        let more: Result<CoordinatorStep, _> =
            read_frame(&mut self.link, CoordinatorStep::MAX_FRAME);
        assert!(matches!(more, Err(FrameError::Closed)), "{more:?}");
        let mut log = String::new();
        let mut stderr = self.process.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (self.process.wait().unwrap(), log)
    }
}
