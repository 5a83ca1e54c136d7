//! The link on which a stage of the coordinator says when the boot goes on.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_boot::{CoordinatorAnswer, CoordinatorStep, Refusal};
use bartizan_local::{FrameError, read_frame, write_frame};

/// How long a stage may say nothing: the first one may wait for a verifier.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The link to a stage.
#[derive(Debug)]
pub struct Coordinator(UnixStream);

impl Coordinator {
    /// The link to a stage that was just started.
    #[must_use]
    pub const fn new(link: UnixStream) -> Self {
        Self(link)
    }

    /// What it wants next; `None` once it has ended.
    pub fn listen(&mut self) -> Result<Option<CoordinatorStep>, Refusal> {
        let patient = self.0.set_read_timeout(Some(PATIENCE));
        let step = patient
            .map_err(FrameError::from)
            .and_then(|()| read_frame(&mut self.0, CoordinatorStep::MAX_FRAME));
        match step {
            Ok(step) => Ok(Some(step)),
            Err(FrameError::Closed) => Ok(None),
            Err(error) => Err(Refusal::Manifest(format!(
                "the coordinator says what it cannot: {error}"
            ))),
        }
    }

    /// Answers it. One that has ended hears nothing.
    pub fn answer(&mut self, answer: &CoordinatorAnswer) {
        let _ = self.0.set_write_timeout(Some(Duration::from_secs(10)));
        let _ = write_frame(&mut self.0, answer, CoordinatorStep::MAX_FRAME);
    }
}
