//! The links of this host's enclave: the card's own, over which it certifies the enclave's keys and keeps its state, and the verifier's,
//! of which it moves the bytes.
//!
//! The keeper, which runs the enclave's machine, connects for it: each socket is for that user alone. On the card's own link the card
//! is the one that speaks TLS as a client, since nothing that a card certifies may pass for a server. What the enclave shows there
//! before it is certified nobody vouches for but the way: the socket, and the vault, which certifies no enclave before the boot's last
//! phase has ended.
//!
//! Known attack: a keeper that was taken over asks for certificates of keys of its own. It gets them, and the enclave's state with
//! them, as it could have changed the machine that it runs: what is measured is what the launcher started, not what became of it.

mod state;

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::certificates::key_in;
use bartizan_attestation::csr;
use bartizan_attestation::host::{CardRefusal, ENCLAVE_FRAME, ForCard, FromCard};
use bartizan_attestation::keys::{VaultReply, VaultRequest};
use bartizan_channel::{ChannelError, EnclaveConnector};
use bartizan_local::{FrameError, aio};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinError;
use tokio::time::timeout;

use crate::door::{Door, Visitor};
use crate::service::Card;
use crate::vault::VaultError;

pub(crate) use state::KeptState;

/// How long a handshake may take: the enclave may run under emulation.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long the verifier may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Links at once of one kind: the one in use, and one whose end is not known yet.
const LINKS: usize = 2;
/// How long an enclave's certificates are valid, in seconds.
const LIFETIME_S: u64 = 3600;

/// A link to the enclave came to nothing.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    /// TLS failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// It took too long.
    #[error("the enclave did not answer in time")]
    TimedOut,
    /// The enclave said something else than a request.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The vault made no certificate for this card to show.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Serves the enclave's link to its card, until dropped.
pub async fn serve(card: Arc<Card>, listener: UnixListener, allowed_uids: &[u32]) {
    let door = Door::new(allowed_uids, LINKS);
    loop {
        let Visitor { stream, place, .. } = door.next(&listener).await;
        let card = Arc::clone(&card);
        tokio::spawn(async move {
            match converse(&card, stream).await {
                Ok(()) | Err(LinkError::Frame(FrameError::Closed)) => {}
                Err(error) => tracing::warn!(%error, "the link to the enclave broke"),
            }
            drop(place);
        });
    }
}

/// Moves the bytes between the enclave and the verifier, until dropped. They are TLS, of which this has no key.
pub async fn forward(card: Arc<Card>, listener: UnixListener, allowed_uids: &[u32]) {
    let door = Door::new(allowed_uids, LINKS);
    loop {
        let Visitor {
            mut stream, place, ..
        } = door.next(&listener).await;
        let to = card.verifier().endpoint().clone();
        tokio::spawn(async move {
            let connecting = TcpStream::connect((to.host.as_str(), to.port));
            match timeout(CONNECT, connecting).await {
                Ok(Ok(mut verifier)) => {
                    // Small records must not wait for others.
                    let _slower = verifier.set_nodelay(true);
                    aio::until_either_ends(&mut stream, &mut verifier).await;
                }
                _ => tracing::warn!("the enclave has no connection to the verifier: it is away"),
            }
            drop(place);
        });
    }
}

async fn converse(card: &Arc<Card>, stream: UnixStream) -> Result<(), LinkError> {
    let shown = tokio::task::block_in_place(|| card.verifier().identity().current())?;
    let identity = Arc::clone(&shown.identity);
    let connector = EnclaveConnector::uncertified(move || Arc::clone(&identity))?;
    let shaken = timeout(HANDSHAKE, connector.connect(stream)).await;
    let (mut link, chain) = shaken.map_err(|_| LinkError::TimedOut)??;
    let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
    let mut is_certified = false;
    loop {
        let reply = match aio::read_frame(&mut link, ENCLAVE_FRAME).await? {
            ForCard::Certify { tls, evidence } => certify(card, leaf, tls, evidence).await,
            ForCard::LoadState | ForCard::StoreState { .. } if !is_certified => {
                Err(CardRefusal::NotCertified)
            }
            ForCard::LoadState => load(card).await,
            ForCard::StoreState { number, sealed } => store(card, number, sealed).await,
        };
        let reply = reply.unwrap_or_else(|refusal| {
            tracing::warn!(%refusal, "the enclave is refused");
            FromCard::Refused(refusal)
        });
        aio::write_frame(&mut link, &reply, ENCLAVE_FRAME).await?;
        if matches!(reply, FromCard::Certified(_)) {
            is_certified = true;
            tokio::spawn(show_boot(Arc::clone(card)));
        }
    }
}

async fn load(card: &Arc<Card>) -> Result<FromCard, CardRefusal> {
    let card = Arc::clone(card);
    let loading = tokio::task::spawn_blocking(move || card.enclave_state.load());
    Ok(FromCard::State(
        loading.await.map_err(|error| broken(&error))??,
    ))
}

async fn store(card: &Arc<Card>, number: u64, sealed: Vec<u8>) -> Result<FromCard, CardRefusal> {
    card.enclave_state.turn().await;
    let card = Arc::clone(card);
    let storing = tokio::task::spawn_blocking(move || card.enclave_state.store(number, &sealed));
    storing.await.map_err(|error| broken(&error))??;
    Ok(FromCard::Stored)
}

fn broken(error: &JoinError) -> CardRefusal {
    CardRefusal::State(error.to_string())
}

/// What was handed in of the boot may have ended before its last phase, and the verifier takes an enclave for one by the phases that its
/// certificate names.
async fn show_boot(card: Arc<Card>) {
    if let Err(refusal) = card.verifier().attest().await {
        tracing::warn!(%refusal, "the verifier is not shown the boot that the enclave is of; the enclave may be refused until it is");
    }
}

/// The key that TLS has proven is the one to be certified for TLS.
async fn certify(
    card: &Card,
    shown: &[u8],
    tls: Vec<u8>,
    evidence: Vec<u8>,
) -> Result<FromCard, CardRefusal> {
    let asked = csr::verify(&tls).ok();
    if asked.is_none() || asked != key_in(shown).ok() {
        let why = "the TLS key to be certified is not the one that the link shows";
        return Err(CardRefusal::VaultRefused(why.into()));
    }
    let request = VaultRequest::CertifyEnclave {
        tls,
        evidence,
        lifetime_s: LIFETIME_S,
    };
    match card.vault.ask_async(request).await? {
        VaultReply::Enclave(chains) => Ok(FromCard::Certified(chains)),
        _ => Err(VaultError::Unexpected.into()),
    }
}
