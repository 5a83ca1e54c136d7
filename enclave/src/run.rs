//! All links of the enclave, kept: opened again with a pause that grows while nobody answers.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bartizan_channel::{Acceptor, ChannelError, Connector, TlsStream};
use bartizan_local::port::stream::{Connection, Port};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::card::{CertifyError, Progress, StateError, certify, keep_state};
use crate::config::Config;
use crate::keys::{Keys, KeysError};
use crate::links::{serve_hypervisor, serve_verifier};
use crate::machine::{Device, Ports};
use crate::peers::{OwnCard, PeerError};
use crate::policing::Held;
use crate::ruling::Ruling;

/// How long a handshake may take; under emulation one takes a second.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// The pause before a link is opened again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The pause before the card is asked again to keep the state, or whether it was reset.
const KEEP_AGAIN: Duration = Duration::from_secs(5);

/// What the enclave knows.
#[derive(Debug)]
pub struct Enclave {
    /// The measured configuration.
    pub config: Config,
    /// Its keys.
    pub keys: Arc<Keys>,
    /// The card that certified them.
    pub card: OwnCard,
    /// What rules.
    pub ruling: Ruling,
    /// What is held of the verifier's.
    pub held: Held,
    certified: watch::Sender<bool>,
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
    /// The fleet CA is of no use for TLS.
    #[error(transparent)]
    Channel(#[from] ChannelError),
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
            config,
            keys: Arc::new(Keys::make()?),
            card: OwnCard::default(),
            ruling: Ruling::default(),
            held: Held::new(source),
            certified: watch::Sender::new(false),
        })
    }

    fn acceptor(&self) -> Result<Acceptor, ChannelError> {
        let keys = Arc::clone(&self.keys);
        Acceptor::new(move || keys.identity(), &[self.config.fleet_ca.der()])
    }

    fn connector(&self) -> Result<Connector, ChannelError> {
        let keys = Arc::clone(&self.keys);
        let connector =
            Connector::authenticated(move || keys.identity(), self.config.fleet_ca.der());
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
    let acceptor = enclave.acceptor()?;
    let connector = enclave.connector()?;
    let card = kept("card", ports.card, async |link| {
        ask_card(enclave, accept(&acceptor, link).await?).await
    });
    let hypervisor = async {
        enclave.certified().await;
        kept("hypervisor", ports.hypervisor, async |link| {
            let (link, chain) = accept(&acceptor, link).await?;
            let ca = &enclave.config.fleet_ca;
            let peer = enclave.card.hypervisor(chain.as_deref(), ca, now_s())?;
            serve_hypervisor(enclave, link, peer).await;
            Ok(())
        })
        .await
    };
    let verifier = async {
        enclave.certified().await;
        kept("verifier", ports.verifier, async |link| {
            let connecting = connector.connect(&enclave.config.verifier, link);
            let link = timeout(HANDSHAKE, connecting).await;
            let link = link.map_err(|_| LinkError::TimedOut)??;
            serve_verifier(enclave, link).await;
            Ok(())
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

type Accepted = (TlsStream<Connection<Device>>, Option<Vec<Vec<u8>>>);

async fn accept(acceptor: &Acceptor, link: Connection<Device>) -> Result<Accepted, LinkError> {
    let accepting = acceptor.accept(link);
    let accepted = timeout(HANDSHAKE, accepting).await;
    Ok(accepted.map_err(|_| LinkError::TimedOut)??)
}

/// Has the card certify the keys, and again whenever half of the certificates' life is over; and has it keep the state meanwhile.
async fn ask_card(enclave: &Enclave, (mut link, chain): Accepted) -> Result<(), LinkError> {
    let ca = &enclave.config.fleet_ca;
    let peer = enclave.card.card(chain.as_deref(), ca, now_s())?;
    let mut changes = enclave.held.changes();
    loop {
        let half_s = certify(enclave, peer.card, &mut link).await?;
        let half = Instant::now() + Duration::from_secs(half_s.max(1));
        while Instant::now() < half {
            // What changes from here on is looked at again.
            changes.mark_unchanged();
            let progress = keep_state(enclave, peer.card, &mut link).await?;
            if enclave.held.is_known() && !enclave.certified.send_replace(true) {
                tracing::info!(card = %peer.card, "certified");
            }
            tokio::select! {
                () = sleep_until(half) => {}
                () = sleep(KEEP_AGAIN), if progress == Progress::Again => {}
                // INVARIANT: the sender is this enclave's.
                _ = changes.changed(), if progress == Progress::Kept => {}
            }
        }
    }
}

/// Keeps one link: only a port that failed ends this.
async fn kept(
    name: &'static str,
    mut port: Port<Device>,
    mut serve: impl AsyncFnMut(Connection<Device>) -> Result<(), LinkError>,
) -> RunError {
    let (first, longest) = PAUSES;
    let mut pause = first;
    loop {
        let served = match port.open().await {
            Ok(link) => serve(link).await,
            Err(error) => Err(LinkError::Port(error)),
        };
        // What the link left unsaid; a port that failed says so here too.
        let flushed = port.flush().await.map_err(LinkError::Port);
        match served.and(flushed) {
            Ok(()) => pause = first,
            Err(LinkError::Port(source)) => return RunError::Port { name, source },
            Err(error) => tracing::warn!(link = name, %error, "the link is opened again"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Seconds since the Unix epoch, by the machine's clock.
pub(crate) fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
