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
mod status;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bartizan_attestation::certificates::{Usage, key_in, verify_chain};
use bartizan_attestation::csr;
use bartizan_attestation::host::{CardRefusal, Certified, ENCLAVE_FRAME, ForCard, FromCard};
use bartizan_attestation::keys::{Chain, EnclaveChains, VaultReply, VaultRequest};
use bartizan_channel::{ChannelError, EnclaveConnector};
use bartizan_local::{FrameError, aio};
use rustix::net::sockopt;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinError;
use tokio::time::timeout;

use crate::allowance::{Allowance, Rate};
use crate::door::{Door, Visitor};
use crate::service::Card;
use crate::unix_now;
use crate::vault::VaultError;
pub(crate) use status::EnclaveStatus;
pub use status::hear_keeper;
use status::{Kind, Open};

pub(crate) use state::KeptState;

/// How long a handshake may take: the enclave may run under emulation.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long the verifier may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Links at once of one kind: the one in use, and one whose end is not known yet.
const LINKS: usize = 2;
/// How long an enclave's certificates are valid, in seconds.
const LIFETIME_S: u64 = 3600;
/// How often it is certified: twice in that time, as it should; now and then while the boot is being measured, and where the verifier refuses
/// it. Each time is work for the vault, which with a TPM is slow, and has the boot shown to the verifier.
///
/// Known attack: an enclave, or a keeper in its place, that asks without end, and nobody else's keys are certified any more.
const CERTIFIED: Rate = Rate {
    at_once: 16,
    pause_s: 10,
};
/// How long an end of the way to the verifier may take nothing of what waits for it.
const TAKES_NOTHING: Duration = Duration::from_secs(20);
/// When a verifier that says nothing is asked whether it is there, how often after that, and how many questions may go unanswered: what
/// holds a place here must not wait for somebody to say something. In seconds.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

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
    let allowance = Arc::new(Mutex::new(Allowance::full(CERTIFIED, unix_now())));
    loop {
        let Visitor { stream, place, .. } = door.next(&listener).await;
        let (card, allowance) = (Arc::clone(&card), Arc::clone(&allowance));
        tokio::spawn(async move {
            match converse(&card, &allowance, stream).await {
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
        let card = Arc::clone(&card);
        tokio::spawn(async move {
            let connecting = TcpStream::connect((to.host.as_str(), to.port));
            match timeout(CONNECT, connecting).await {
                Ok(Ok(mut verifier)) => {
                    let _open = Open::new(&card, Kind::Forwarded);
                    // Small records must not wait for others.
                    let _slower = verifier.set_nodelay(true);
                    if let Err(error) = keep_alive(&verifier) {
                        tracing::warn!(%error, "a verifier that is gone will be noticed late");
                    }
                    aio::until_either_ends(&mut stream, &mut verifier, TAKES_NOTHING).await;
                }
                _ => tracing::warn!("the enclave has no connection to the verifier: it is away"),
            }
            drop(place);
        });
    }
}

fn keep_alive(verifier: &TcpStream) -> std::io::Result<()> {
    let (after, every, unanswered) = KEEPALIVE;
    sockopt::set_tcp_keepidle(verifier, after)?;
    sockopt::set_tcp_keepintvl(verifier, every)?;
    sockopt::set_tcp_keepcnt(verifier, unanswered)?;
    sockopt::set_socket_keepalive(verifier, true)?;
    Ok(())
}

async fn converse(
    card: &Arc<Card>,
    allowance: &Mutex<Allowance>,
    stream: UnixStream,
) -> Result<(), LinkError> {
    // An enclave whose measured configuration names a former CA is led to the present one.
    let links = card.verifier().anchors.known().lineage().new_with_old();
    let shown = tokio::task::block_in_place(|| card.verifier().identity().linked(links))?;
    let identity = Arc::clone(&shown.identity);
    let connector = EnclaveConnector::uncertified(move || Arc::clone(&identity))?;
    let shaken = timeout(HANDSHAKE, connector.connect(stream)).await;
    let (mut link, chain) = shaken.map_err(|_| LinkError::TimedOut)??;
    let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
    let mut is_certified = false;
    let _open = Open::new(card, Kind::Link);
    loop {
        let reply = match aio::read_frame(&mut link, ENCLAVE_FRAME).await? {
            ForCard::FleetCas => {
                let known = card.verifier().anchors.known();
                Ok(FromCard::FleetCas((**known.lineage()).clone()))
            }
            ForCard::Certify { tls, evidence } => match may_certify(allowance) {
                Ok(()) => certify(card, leaf, tls, evidence).await,
                Err(refusal) => Err(refusal),
            },
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

fn may_certify(allowance: &Mutex<Allowance>) -> Result<(), CardRefusal> {
    let mut allowance = allowance.lock().unwrap_or_else(PoisonError::into_inner);
    if allowance.take(unix_now()) {
        return Ok(());
    }
    let pause_s = CERTIFIED.pause_s;
    let why = format!("the enclave was certified too often; once more in {pause_s} s");
    Err(CardRefusal::Busy(why))
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
        VaultReply::Enclave(chains) => {
            note(card, &chains);
            Ok(FromCard::Certified(chains))
        }
        _ => Err(VaultError::Unexpected.into()),
    }
}

/// Until when the certificates are valid, for who asks.
fn note(card: &Card, chains: &EnclaveChains) {
    let (ca, since_s) = (card.anchors.ca(), unix_now());
    let ends = |chain: &Chain, usage| {
        let chain: Vec<Vec<u8>> = chain.iter().map(|der| der.to_vec()).collect();
        verify_chain(&chain, &ca, since_s, usage).map(|leaf| leaf.not_after)
    };
    let tls = ends(&chains.tls, Usage::EnclaveTls);
    let evidence = ends(&chains.evidence, Usage::Evidence);
    match (tls, evidence) {
        (Ok(tls), Ok(evidence)) => card.enclave.certified(Certified {
            since_s,
            until_s: tls.min(evidence),
        }),
        // The enclave refuses them itself.
        _ => tracing::warn!("what the vault certified for the enclave leads to no CA of the fleet"),
    }
}
