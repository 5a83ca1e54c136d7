//! The daemon's link: see [`bartizan_local::admission`].

use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_local::admission::{Admission, AdmissionReply, AdmissionRequest, MAX_FRAME};
use bartizan_local::{FrameError, read_frame, write_frame};

use super::admissions::{AdmissionError, Admissions, LinkNumber};
use super::observe::Observations;

/// How long the daemon may take to read an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers the daemon until it closes its link, has spoken by a later one, or has seen what it wants to. What it admitted stays.
pub(super) fn serve(
    mut link: &UnixStream,
    number: LinkNumber,
    admissions: &Admissions,
    observations: &Observations,
) -> Result<(), FrameError> {
    link.set_write_timeout(Some(TIMEOUT))?;
    loop {
        let request = match read_frame(&mut link, MAX_FRAME) {
            Ok(request) => request,
            Err(FrameError::Closed) => return Ok(()),
            Err(error) => {
                let refused = AdmissionReply::Refused(error.to_string());
                write_frame(&mut link, &refused, MAX_FRAME)?;
                return Err(error);
            }
        };
        let done = match &request {
            AdmissionRequest::Admit(admission) => admit(admission, number, admissions),
            AdmissionRequest::Retain(tickets) => admissions.retain(number, tickets),
            AdmissionRequest::Observe(observe) => return observations.serve(link, observe),
        };
        let reply = match &done {
            Ok(()) => AdmissionReply::Done,
            Err(error) => {
                tracing::warn!(%error, "an admission is refused");
                AdmissionReply::Refused(error.to_string())
            }
        };
        write_frame(&mut link, &reply, MAX_FRAME)?;
        if done == Err(AdmissionError::Superseded) {
            return Ok(());
        }
    }
}

fn admit(
    admission: &Admission,
    link: LinkNumber,
    admissions: &Admissions,
) -> Result<(), AdmissionError> {
    admissions.admit(link, admission)?;
    tracing::info!(cid = admission.cid, "admitted");
    Ok(())
}
