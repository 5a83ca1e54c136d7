//! A host that has no identity yet: its card runs, so that the boot goes on, and refuses everything until it was enrolled.

use std::time::Duration;

use bartizan_attestation::host::{CardRefusal, CardReply, CardRequest, MAX_FRAME};
use bartizan_local::aio;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::service::{Card, CardError};
use crate::vault::VaultError;

/// How often the vault is asked whether there is an identity by now.
const LOOK: Duration = Duration::from_secs(1);
/// How long a refused connection may take.
const STALL: Duration = Duration::from_secs(5);

/// The card, once this host is enrolled. `waiting` is told once, if it is not enrolled yet.
pub async fn enrolled(
    config: &Config,
    listener: &UnixListener,
    waiting: impl FnOnce(),
) -> Result<Card, CardError> {
    let mut waiting = Some(waiting);
    loop {
        match tokio::task::block_in_place(|| Card::open(config)) {
            Err(CardError::NotEnrolled) => {}
            // A vault that is being started again, while this host waits: it is asked once more.
            Err(CardError::Vault(VaultError::Away { .. })) if waiting.is_none() => {}
            opened => return opened,
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        let next = Instant::now() + LOOK;
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    tokio::spawn(tokio::time::timeout(STALL, refuse(stream)));
                },
                () = sleep_until(next) => break,
            }
        }
    }
}

async fn refuse(mut stream: UnixStream) {
    // Whoever may not ask at all is told no more than those who may.
    if aio::read_frame::<CardRequest>(&mut stream, MAX_FRAME)
        .await
        .is_ok()
    {
        let reply = CardReply::Refused(CardRefusal::NotEnrolled);
        // One that has gone does not hear it.
        let _ = aio::write_frame(&mut stream, &reply, MAX_FRAME).await;
    }
}
