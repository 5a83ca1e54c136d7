//! A running measurer and its socket.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use bartizan_attestation::host::{FromMeasurer, MAX_FRAME, MeasurerContext, ToMeasurer};
use bartizan_local::aio;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::measured_program::MeasuredProgram;
use crate::qemu::process::{Confined, Process, User};
use crate::supervisor::chatter::{Allowance, Chatter};
use crate::supervisor::config::Program;
use crate::supervisor::tracking::{Handed, Tracked};

/// Messages that may wait, each way.
const QUEUE: usize = 64;

/// All that a measurer is started with.
#[derive(Debug)]
pub struct MeasurerStart {
    /// The program.
    pub program: Program,
    /// Whom it runs as; the supervisor's own user if absent.
    pub user: Option<User>,
    /// How much of what measurers print is still logged.
    pub log: Allowance,
    /// Whom it measures.
    pub context: MeasurerContext,
    /// The guest's RAM, open for reading only.
    pub ram: File,
    /// The guest's bzImage, where it is known.
    pub kernel: Option<OwnedFd>,
    /// What tracks the guest's writes, where they can be.
    pub tracked: Option<Tracked>,
}

/// A running measurer. Dropping it kills it.
#[derive(Debug)]
pub struct Measurer {
    process: Process,
    inbox: mpsc::Receiver<FromMeasurer>,
    outbox: mpsc::Sender<ToMeasurer>,
    tasks: [JoinHandle<()>; 2],
    _chatter: Chatter,
}

impl MeasurerStart {
    /// Starts a measurer with these descriptors: 3 the socket, 4 the RAM, 5 the kernel, 6 to 8 what tracks writes; and with what it is
    /// made of.
    pub fn start(&self) -> io::Result<Measurer> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let (stderr, their_stderr) = StdStream::pair()?;
        let execution = self.program.execution("bartizan-measurer");
        let measured = self.program.measured.as_ref();
        let made_of = measured.map(MeasuredProgram::descriptors).transpose()?;
        let mut confined = Confined::new(&execution.program)
            .args(execution.arguments)
            .user(self.user)
            .stderr(OwnedFd::from(their_stderr))
            .place(theirs.as_fd(), 3)
            .place(self.ram.as_fd(), 4);
        for descriptor in made_of.into_iter().flatten() {
            confined = confined.keep(descriptor);
        }
        if let Some(kernel) = &self.kernel {
            confined = confined.args(["--kernel"]).place(kernel.as_fd(), 5);
        }
        let mut context = self.context.clone();
        if let Some(handed) = self.tracked.as_ref().and_then(Tracked::handed) {
            let Handed {
                page_map,
                log,
                userfault,
                mappings,
            } = handed;
            confined = confined
                .args(["--tracked"])
                .place(page_map, 6)
                .place(log, 7)
                .place(userfault, 8);
            context.tracked = Some(mappings);
        }
        let process = confined.spawn()?;
        let (reader, writer) = tokio::io::split(UnixStream::from_std(ours)?);
        let (inbox_sender, inbox) = mpsc::channel(QUEUE);
        let (outbox, outbox_receiver) = mpsc::channel(QUEUE);
        let tasks = [
            tokio::spawn(read(reader, inbox_sender)),
            tokio::spawn(write(writer, outbox_receiver)),
        ];
        let chatter = Chatter::listen("measurer", stderr, self.log.clone())?;
        let measurer = Measurer {
            process,
            inbox,
            outbox,
            tasks,
            _chatter: chatter,
        };
        measurer.tell(ToMeasurer::Context(context));
        Ok(measurer)
    }
}

impl Measurer {
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) fn kill(&self) {
        self.process.kill();
    }

    /// Queues a message; a measurer that lets its queue fill up is as good as gone.
    pub(super) fn tell(&self, message: ToMeasurer) -> bool {
        self.outbox.try_send(message).is_ok()
    }

    /// What it says next; `None` when it has ended, or its socket. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<FromMeasurer> {
        tokio::select! {
            biased;
            message = self.inbox.recv() => message,
            _ = self.process.exited() => None,
        }
    }
}

impl Drop for Measurer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn read(mut link: ReadHalf<UnixStream>, inbox: mpsc::Sender<FromMeasurer>) {
    loop {
        match aio::read_frame(&mut link, MAX_FRAME).await {
            Ok(message) => {
                if inbox.send(message).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the measurer's socket ended");
                return;
            }
        }
    }
}

async fn write(mut link: WriteHalf<UnixStream>, mut outbox: mpsc::Receiver<ToMeasurer>) {
    while let Some(message) = outbox.recv().await {
        if let Err(error) = aio::write_frame(&mut link, &message, MAX_FRAME).await {
            tracing::debug!(%error, "the measurer takes no more");
            return;
        }
    }
}
