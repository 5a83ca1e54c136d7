//! A link that is kept: opened again after each of its ends, with a pause that grows while it comes to nothing.

use std::time::Duration;

use bartizan_local::port::stream::{Connection, Port};
use bartizan_stream::Backoff;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::{LinkError, RunError};

/// The pauses of one kind: the least, and the most.
type Pauses = (Duration, Duration);

/// Where who is asked may be there in a moment.
const SOON: Pauses = (Duration::from_millis(100), Duration::from_secs(1));
/// The card refuses to certify until the boot was measured, which is about to be.
const UNTIL_MEASURED: Pauses = (Duration::from_millis(100), Duration::from_secs(5));
/// The verifier is away, for the whole fleet.
const AWAY: Pauses = (Duration::from_millis(100), Duration::from_secs(10));
/// The verifier refuses this enclave as it is: each refusal costs it a look at who that is, and this host a showing of its boot.
const REFUSED: Pauses = (Duration::from_secs(1), Duration::from_secs(60));

/// How long to wait before a link is opened again.
#[derive(Debug)]
pub(super) struct Patience {
    failed: Backoff,
    refused: Backoff,
}

impl Patience {
    pub(super) fn with_card() -> Self {
        Self::new(SOON, UNTIL_MEASURED)
    }

    pub(super) fn with_hypervisor() -> Self {
        Self::new(SOON, SOON)
    }

    pub(super) fn with_verifier() -> Self {
        Self::new(AWAY, REFUSED)
    }

    fn new(failed: Pauses, refused: Pauses) -> Self {
        Self {
            failed: Backoff::new(failed.0, failed.1),
            refused: Backoff::new(refused.0, refused.1),
        }
    }

    /// The pause after what became of a link.
    fn after(&mut self, came: &Result<(), LinkError>, chance: u32) -> Duration {
        match came {
            Err(error) if error.is_refusal() => self.refused.wait(chance),
            Err(_) => self.failed.wait(chance),
            Ok(()) => {
                self.failed.reset();
                self.refused.reset();
                self.failed.wait(chance)
            }
        }
    }
}

/// Keeps one link: only a port that failed ends this. `serve` answers whether the link was of use.
pub(super) async fn kept<T: AsyncRead + AsyncWrite + Unpin>(
    name: &'static str,
    mut port: Port<T>,
    mut patience: Patience,
    mut serve: impl AsyncFnMut(Connection<T>) -> Result<(), LinkError>,
) -> RunError {
    loop {
        let served = match port.open().await {
            Ok(link) => serve(link).await,
            Err(error) => Err(LinkError::Port(error)),
        };
        // What the link left unsaid; a port that failed says so here too.
        let flushed = port.flush().await.map_err(LinkError::Port);
        let came = served.and(flushed);
        let pause = patience.after(&came, chance());
        match came {
            Ok(()) => {}
            Err(LinkError::Port(source)) => return RunError::Port { name, source },
            Err(error) => {
                tracing::warn!(link = name, %error, ?pause, "the link is opened again");
            }
        }
        sleep(pause).await;
    }
}

/// Any number. Where none can be had, the pause is the shortest.
fn chance() -> u32 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bartizan_attestation::host::CardRefusal;
    use bartizan_stream::{Code, StreamError};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::card::CertifyError;
    use crate::policing::PolicingError;

    fn ended(code: Code) -> LinkError {
        let message = "no".into();
        PolicingError::Stream(StreamError::Ended { code, message }).into()
    }

    /// How often a link is opened in an hour, if that becomes of each.
    async fn tries(patience: Patience, mut became: impl FnMut() -> Result<(), LinkError>) -> u32 {
        let (near, _far) = tokio::io::duplex(64 << 10);
        let count = Cell::new(0);
        let keeping = kept("verifier", Port::opening(near), patience, async |_link| {
            count.set(count.get() + 1);
            became()
        });
        timeout(Duration::from_secs(3600), keeping)
            .await
            .unwrap_err();
        count.get()
    }

    /// Known attack: a verifier that refuses all has hosts come again without end.
    #[tokio::test(start_paused = true)]
    async fn who_is_refused_comes_again_ever_more_rarely() {
        let refused = tries(Patience::with_verifier(), || {
            Err(ended(Code::PermissionDenied))
        });
        let refused = refused.await;
        assert!((60..=130).contains(&refused), "{refused}");
        let away = tries(Patience::with_verifier(), || Err(ended(Code::Unavailable)));
        let away = away.await;
        assert!((360..=740).contains(&away), "{away}");
        let card = tries(Patience::with_card(), || {
            let refusal = CardRefusal::Busy("not yet".into());
            Err(CertifyError::Refused(refusal).into())
        });
        let card = card.await;
        assert!((720..=1460).contains(&card), "{card}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_was_of_use_is_opened_again_at_once() {
        let mut patience = Patience::with_verifier();
        for _ in 0..20 {
            patience.after(&Err(ended(Code::PermissionDenied)), u32::MAX);
            patience.after(&Err(ended(Code::Unavailable)), u32::MAX);
        }
        let (failed, refused) = (Code::Unavailable, Code::PermissionDenied);
        let mut longest = |code| patience.after(&Err(ended(code)), u32::MAX);
        assert_eq!([longest(failed), longest(refused)], [AWAY.1, REFUSED.1]);
        assert_eq!(patience.after(&Ok(()), u32::MAX), AWAY.0);
        let mut longest = |code| patience.after(&Err(ended(code)), u32::MAX);
        assert_eq!([longest(failed), longest(refused)], [2 * AWAY.0, REFUSED.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_failed_ends_it() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        let begun = Instant::now();
        let (port, patience) = (Port::opening(near), Patience::with_card());
        let failed = kept("card", port, patience, async |_link| Ok(())).await;
        let RunError::Port { name: "card", .. } = failed else {
            panic!("{failed}");
        };
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
