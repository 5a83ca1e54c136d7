//! The daemon's link: see [`bartizan_local::admission`].

use std::os::unix::net::UnixStream;
use std::time::Duration;

use bartizan_local::admission::{Admission, AdmissionReply, AdmissionRequest, MAX_FRAME};
use bartizan_local::{FrameError, read_frame, write_frame};

use super::admissions::{AdmissionError, Admissions, LinkNumber};
use super::observe::Observations;

/// How long the daemon may take to read an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a link was when it is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Was {
    /// The one by which the daemon admits.
    Admitting,
    /// One by which it has seen a guest's flows.
    Observing,
}

/// Answers the daemon until it closes its link, has spoken by a later one, or has seen what it wants to. What it admitted stays.
pub(super) fn serve(
    mut link: &UnixStream,
    number: LinkNumber,
    admissions: &Admissions,
    observations: &Observations,
) -> Result<Was, FrameError> {
    link.set_write_timeout(Some(TIMEOUT))?;
    loop {
        let request = match read_frame(&mut link, MAX_FRAME) {
            Ok(request) => request,
            Err(FrameError::Closed) => return Ok(Was::Admitting),
            Err(error) => {
                let refused = AdmissionReply::Refused(error.to_string());
                write_frame(&mut link, &refused, MAX_FRAME)?;
                return Err(error);
            }
        };
        let done = match &request {
            AdmissionRequest::Admit(admission) => admit(admission, number, admissions),
            AdmissionRequest::Retain(tickets) => admissions.retain(number, tickets),
            AdmissionRequest::Observe(observe) => {
                observations.serve(link, observe);
                return Ok(Was::Observing);
            }
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
            return Ok(Was::Admitting);
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

#[cfg(test)]
mod tests {
    use bartizan_local::flow::Guest;
    use bartizan_local::observation::{
        self, Filter, Observation, ObservationRefusal, Observe, Observed,
    };

    use super::*;
    use crate::decisions::Decisions;
    use crate::net::Fabric;

    /// What a link was by which only that is asked.
    fn was(request: Option<AdmissionRequest>) -> (Was, UnixStream) {
        let decisions = Decisions::new();
        let admissions = Admissions::new(1, decisions.clone(), Fabric::default().into());
        let observations = Observations::new(decisions);
        let (ours, theirs) = UnixStream::pair().unwrap();
        if let Some(request) = request {
            write_frame(&mut &theirs, &request, MAX_FRAME).unwrap();
        }
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let number = LinkNumber::default();
        let was = serve(&ours, number, &admissions, &observations).unwrap();
        (was, theirs)
    }

    #[test]
    fn whoever_observed_is_not_the_daemon_that_left() {
        let observe = Observe {
            guest: Guest {
                vm: [1; 16],
                boot: 1,
            },
            filter: Filter::default(),
            what: Observation::List,
        };
        let (observing, link) = was(Some(AdmissionRequest::Observe(observe)));
        assert_eq!(observing, Was::Observing);
        let said: Observed = read_frame(&mut &link, observation::MAX_FRAME).unwrap();
        assert_eq!(said, Observed::Refused(ObservationRefusal::NoDevice));
        for request in [None, Some(AdmissionRequest::Retain(Vec::new()))] {
            assert_eq!(was(request).0, Was::Admitting);
        }
    }
}
