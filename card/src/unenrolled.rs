//! A host that has no identity yet: its card runs, so that the boot goes on, and refuses everything until it was enrolled.

use std::time::Duration;

use bartizan_attestation::host::{CardRefusal, CardReply, CardRequest};
use bartizan_local::aio;
use tokio::net::UnixListener;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::Config;
use crate::door::{Door, Visitor};
use crate::service::{Card, CardError};
use crate::vault::VaultError;

/// How often the vault is asked whether there is an identity by now.
const LOOK: Duration = Duration::from_secs(1);
/// How long a refused connection may take.
const STALL: Duration = Duration::from_secs(5);
/// Refused connections at once.
const MAX_CONNECTIONS: usize = 16;
/// Largest request that is read in order to be refused, in bytes: others are not answered.
const MAX_REQUEST: usize = 64 << 10;

/// The card, once this host is enrolled. `waiting` is told once, if it is not enrolled yet.
pub async fn enrolled(
    config: &Config,
    listener: &UnixListener,
    waiting: impl FnOnce(),
) -> Result<Card, CardError> {
    let mut waiting = Some(waiting);
    let door = Door::new(&config.allowed_uids, MAX_CONNECTIONS);
    loop {
        match tokio::task::block_in_place(|| Card::open(config)) {
            Err(CardError::NotEnrolled) => {}
            // A vault that is being started again, while this host waits: it is asked once more.
            Err(CardError::Vault(VaultError::Away { .. } | VaultError::Unanswered { .. }))
                if waiting.is_none() => {}
            opened => return opened,
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        let next = Instant::now() + LOOK;
        loop {
            tokio::select! {
                visitor = door.next(listener) => refuse(visitor),
                () = sleep_until(next) => break,
            }
        }
    }
}

fn refuse(visitor: Visitor) {
    let Visitor {
        mut stream, place, ..
    } = visitor;
    tokio::spawn(async move {
        let answered = timeout(STALL, async {
            let _request: CardRequest = aio::read_frame(&mut stream, MAX_REQUEST).await?;
            let reply = CardReply::Refused(CardRefusal::NotEnrolled);
            aio::write_frame(&mut stream, &reply, MAX_REQUEST).await
        });
        // One that has gone, or says something else, is told nothing.
        let _ = answered.await;
        drop(place);
    });
}
