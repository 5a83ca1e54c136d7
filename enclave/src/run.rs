//! All links of the enclave, kept: opened again with a pause that grows while nobody answers.
//!
//! Where the verifier refuses the stream it may be for what only the card can put right: it was not shown this boot of the host since it was
//! started again itself, or another key of the card's has come after the one that has certified this enclave. So the card is asked to
//! certify anew, with which it shows the boot; the pauses of a refused stream bound how often.

mod kept;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_channel::{Acceptor, ChannelError, Connector, TlsStream};
use bartizan_local::port::stream::Connection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::anchors::Anchors;
use crate::card::{CertifyError, Progress, StateError, certify, fleet_cas, keep_state};
use crate::config::Config;
use crate::keys::{Keys, KeysError};
use crate::links::{ended_at, serve_hypervisor, serve_verifier};
use crate::machine::{Device, Ports};
use crate::peers::{OwnCard, PeerError};
use crate::policing::{Held, PolicingError};
use crate::ruling::Ruling;
use kept::{Patience, kept};

/// How long a handshake may take; under emulation one takes a second.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// The pause before the card is asked again to keep the state, or whether it was reset.
const KEEP_AGAIN: Duration = Duration::from_secs(5);
/// How often it is asked for the fleet's CAs.
const LOOK_FOR_CA: Duration = Duration::from_secs(60);

/// What the enclave knows.
#[derive(Debug)]
pub struct Enclave {
    /// The measured configuration.
    pub config: Config,
    /// Its keys.
    pub keys: Arc<Keys>,
    /// The fleet's CA.
    pub anchors: Anchors,
    /// The card that certified them.
    pub card: OwnCard,
    /// What rules.
    pub ruling: Ruling,
    /// What is held of the verifier's.
    pub held: Held,
    certified: watch::Sender<bool>,
    /// The verifier refuses what the card has certified, or what it knows of this boot.
    refused: Notify,
}

/// A link was not opened, or broke.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    /// The port is of no use any more: the machine must end.
    #[error("the port failed: {0}")]
    Port(std::io::Error),
    /// TLS failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The handshake took too long.
    #[error("the handshake took too long")]
    TimedOut,
    /// Whoever is there is not who should be.
    #[error("whoever is at the other end is refused: {0}")]
    Peer(#[from] PeerError),
    /// The card did not certify the keys.
    #[error(transparent)]
    Certify(#[from] CertifyError),
    /// The state is not kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The stream did not come to be, or not to last.
    #[error(transparent)]
    Policing(#[from] PolicingError),
}

impl LinkError {
    /// Whether who is there refuses this enclave as it is: to come again at once changes nothing.
    const fn is_refusal(&self) -> bool {
        match self {
            Self::Policing(error) => error.is_refusal(),
            Self::Certify(CertifyError::Refused(_)) => true,
            _ => false,
        }
    }
}

/// There is no enclave.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// It has no keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The machine has no randomness.
    #[error("no random bytes can be had")]
    NoRandomness,
}

/// The enclave cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port failed for good.
    #[error("the port `{name}` failed: {source}")]
    Port {
        /// Which.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Another enclave of this host keeps the state, or it was reset: what this one knows counts for nothing any more.
    #[error("the state is another enclave's, or was reset")]
    Superseded,
}

impl Enclave {
    /// One with new keys, which nobody has certified yet.
    pub fn new(config: Config) -> Result<Self, NewError> {
        let mut source = [0; 16];
        aws_lc_rs::rand::fill(&mut source).map_err(|_| NewError::NoRandomness)?;
        Ok(Self {
            anchors: Anchors::new(&config.fleet_ca),
            config,
            keys: Arc::new(Keys::make()?),
            card: OwnCard::default(),
            ruling: Ruling::default(),
            held: Held::new(source),
            certified: watch::Sender::new(false),
            refused: Notify::new(),
        })
    }

    fn acceptor(&self) -> Result<Acceptor, ChannelError> {
        let keys = Arc::clone(&self.keys);
        Acceptor::new(move || keys.identity(), &self.anchors.roots())
    }

    fn connector(&self) -> Result<Connector, ChannelError> {
        let keys = Arc::clone(&self.keys);
        let connector = Connector::authenticated(move || keys.identity(), self.anchors.ca().der());
        connector.map(Connector::with_http2)
    }

    /// Waits until the card has certified the keys once, and it is known what there was before this machine was started.
    pub async fn certified(&self) {
        // INVARIANT: the sender is this enclave's.
        let mut certified = self.certified.subscribe();
        let _always = certified.wait_for(|done| *done).await;
    }
}

/// Keeps all links, for as long as the ports do.
pub async fn run(enclave: &Enclave, ports: Ports) -> Result<(), RunError> {
    let card = kept("card", ports.card, Patience::with_card(), async |link| {
        ask_card(enclave, accept(enclave, link).await?).await
    });
    let hypervisor = async {
        enclave.certified().await;
        let patience = Patience::with_hypervisor();
        kept("hypervisor", ports.hypervisor, patience, async |link| {
            let another_ca = enclave.anchors.another();
            let (link, chain) = accept(enclave, link).await?;
            let ca = enclave.anchors.ca();
            let peer = enclave.card.hypervisor(chain.as_deref(), &ca, now_s())?;
            // Of guests whose records were not believed the next one tells again.
            tokio::select! {
                () = serve_hypervisor(enclave, link, peer) => {}
                () = another_ca => {
                    tracing::info!("another fleet CA is trusted; another link to the hypervisor is opened");
                }
            }
            Ok(())
        })
        .await
    };
    let verifier = async {
        enclave.certified().await;
        let patience = Patience::with_verifier();
        kept("verifier", ports.verifier, patience, async |link| {
            let another_ca = enclave.anchors.another();
            let connector = enclave.connector()?;
            let connecting = connector.connect(&enclave.config.verifier, link);
            let link = timeout(HANDSHAKE, connecting).await;
            let link = link.map_err(|_| LinkError::TimedOut)??;
            let served = tokio::select! {
                served = serve_verifier(enclave, link) => served,
                // Known attack: who has a key of a verifier's by the former one goes on by the stream that is open.
                () = another_ca => {
                    tracing::info!("another fleet CA is trusted; another stream is opened");
                    return Ok(());
                }
            };
            if served.as_ref().is_err_and(PolicingError::is_refusal) {
                enclave.refused.notify_one();
            }
            Ok(served?)
        })
        .await
    };
    tokio::select! {
        error = card => Err(error),
        error = hypervisor => Err(error),
        error = verifier => Err(error),
        () = enclave.held.superseded() => Err(RunError::Superseded),
    }
}

type Accepted<S> = (S, Option<Vec<Vec<u8>>>);
type Link = TlsStream<Connection<Device>>;

async fn accept(enclave: &Enclave, link: Connection<Device>) -> Result<Accepted<Link>, LinkError> {
    let acceptor = enclave.acceptor()?;
    let accepting = acceptor.accept(link);
    let accepted = timeout(HANDSHAKE, accepting).await;
    Ok(accepted.map_err(|_| LinkError::TimedOut)??)
}

/// Has the card certify the keys, again whenever half of the certificates' life is over, and where the verifier refuses this enclave; and
/// has it keep the state meanwhile.
async fn ask_card<S: AsyncRead + AsyncWrite + Unpin>(
    enclave: &Enclave,
    (mut link, chain): Accepted<S>,
) -> Result<(), LinkError> {
    learn(enclave, &mut link).await?;
    let ca = enclave.anchors.ca();
    let peer = enclave.card.card(chain.as_deref(), &ca, now_s())?;
    let mut changes = enclave.held.changes();
    let mut look = Instant::now() + LOOK_FOR_CA;
    loop {
        let half_s = certify(enclave, peer.card, &mut link).await?;
        let half = Instant::now() + Duration::from_secs(half_s.max(1));
        loop {
            // What changes from here on is looked at again.
            changes.mark_unchanged();
            enclave.held.testify(&enclave.keys, &enclave.ruling);
            let progress = keep_state(enclave, peer.card, &mut link).await?;
            if enclave.held.is_known() && !enclave.certified.send_replace(true) {
                tracing::info!(card = %peer.card, "certified");
            }
            tokio::select! {
                // Known attack: so much is to be kept that nothing else is ever due.
                biased;
                () = sleep_until(half) => break,
                () = ended_at(peer.not_after) => return Ok(()),
                () = enclave.refused.notified() => {
                    tracing::info!("the card is asked to certify anew, and to show its boot");
                    break;
                }
                () = sleep_until(look) => {
                    look = Instant::now() + LOOK_FOR_CA;
                    // The one that certified these keys is believed by others for as long as its link lasts.
                    if learn(enclave, &mut link).await? {
                        break;
                    }
                }
                () = yield_now(), if progress == Progress::More => {}
                () = sleep(KEEP_AGAIN), if progress == Progress::Again => {}
                () = enclave.held.until_testified(&enclave.keys, &enclave.ruling), if progress == Progress::Kept => {}
                // INVARIANT: the sender is this enclave's.
                _ = changes.changed(), if progress == Progress::Kept => {}
            }
        }
    }
}

/// Whether another fleet CA is trusted than before. Where the card's is none of this fleet's, who is there will not be believed.
async fn learn(
    enclave: &Enclave,
    link: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<bool, LinkError> {
    let told = fleet_cas(link).await?;
    let learnt = enclave.anchors.learn(&told, now_s());
    Ok(learnt.unwrap_or_else(|error| {
        tracing::warn!(%error, trusted = ?enclave.anchors.ca(), "the card's fleet CAs are not followed");
        false
    }))
}

/// Seconds since the Unix epoch, by the machine's clock.
pub(crate) fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
