//! The daemon's link: see [`bartizan_local::admission`].

use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_local::admission::{Admission, AdmissionReply, AdmissionRequest, MAX_FRAME};
use bartizan_local::{FrameError, read_frame, write_frame};

use super::admissions::{AdmissionError, Admissions};

/// How long the daemon may take to read an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Answers the daemon until it closes its link. What it admitted stays.
pub(super) fn serve(mut link: &UnixStream, admissions: &Admissions) -> Result<(), FrameError> {
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
        let reply = match work_off(&request, admissions) {
            Ok(()) => AdmissionReply::Done,
            Err(error) => {
                tracing::warn!(%error, "an admission is refused");
                AdmissionReply::Refused(error.to_string())
            }
        };
        write_frame(&mut link, &reply, MAX_FRAME)?;
    }
}

fn work_off(request: &AdmissionRequest, admissions: &Admissions) -> Result<(), AdmissionError> {
    match request {
        AdmissionRequest::Admit(admission) => {
            admissions.admit(admission)?;
            let Admission { cid, .. } = admission;
            tracing::info!(cid, "admitted");
            Ok(())
        }
        AdmissionRequest::Retain(tickets) => {
            admissions.retain(tickets);
            Ok(())
        }
    }
}
