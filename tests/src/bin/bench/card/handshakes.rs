//! Handshakes a second of `trust/channel`, both sides authenticated, against rustls with the same suite and nothing else.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use bartizan_channel::{Acceptor, Connector, Identity, LocalSigner};
use bartizan_measuring::{Outcome, Samples, averaged, rounds};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P384_SHA384,
};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ClientConnection, NamedGroup, RootCertStore, ServerConfig, ServerConnection,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};

use super::Compared;

pub(super) const NAME: &str = "handshake";
const WARM_UP: usize = 2;
const ROUNDS: usize = 21;
/// Handshakes of a round.
const BATCH: u32 = 50;
const SERVER: &str = "server.test";
/// The hybrid key exchange.
const GROUP: NamedGroup = NamedGroup::X25519MLKEM768;

pub(super) fn run() -> Result<Outcome> {
    let fleet = Fleet::new()?;
    let channel = Channel::new(&fleet)?;
    let bare = Bare::new(&fleet)?;
    let (mut through, mut alone) = (Samples::default(), Samples::default());
    rounds(NAME, WARM_UP, ROUNDS, |counts| {
        let value = averaged(BATCH, || channel.shake())?;
        let reference = averaged(BATCH, || bare.shake())?;
        if counts {
            through.add(value);
            alone.add(reference);
        }
        Ok(())
    })?;
    let compared = Compared {
        case: NAME,
        unit: "handshakes/s",
        value: (
            "trust/channel: mutual, X25519MLKEM768, both sides in one thread",
            through,
        ),
        reference: (
            "rustls alone: the same suite and certificates, buffers handed over by hand",
            alone,
        ),
        goal: 0.9,
        rounds: ROUNDS,
    };
    Ok(compared.rates())
}

/// A fleet CA, a server and a client.
struct Fleet {
    der: Vec<u8>,
    server: Certified,
    client: Certified,
}

struct Certified {
    der: Vec<u8>,
    pkcs8: Vec<u8>,
}

impl Fleet {
    fn new() -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key)?.der().to_vec();
        let issuer = Issuer::new(params, key);
        let certified = |usage| {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
            let mut params = CertificateParams::new(vec![SERVER.to_owned()])?;
            params.extended_key_usages = vec![usage];
            anyhow::Ok(Certified {
                der: params.signed_by(&key, &issuer)?.der().to_vec(),
                pkcs8: key.serialize_der(),
            })
        };
        Ok(Self {
            server: certified(ExtendedKeyUsagePurpose::ServerAuth)?,
            client: certified(ExtendedKeyUsagePurpose::ClientAuth)?,
            der,
        })
    }

    fn roots(&self) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.der.clone()))?;
        Ok(Arc::new(roots))
    }
}

impl Certified {
    fn identity(&self) -> Result<Arc<Identity>> {
        let signer = LocalSigner::from_pkcs8(&self.pkcs8)?;
        let chain = vec![self.der.clone()];
        Ok(Arc::new(Identity::new(chain, Arc::new(signer))))
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.der.clone())]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pkcs8.clone()).into()
    }
}

struct Channel {
    runtime: Runtime,
    acceptor: Acceptor,
    connector: Connector,
}

impl Channel {
    fn new(fleet: &Fleet) -> Result<Self> {
        let (server, client) = (fleet.server.identity()?, fleet.client.identity()?);
        Ok(Self {
            runtime: Builder::new_current_thread().build()?,
            acceptor: Acceptor::new(move || Arc::clone(&server), &[&fleet.der])?,
            connector: Connector::authenticated(move || Arc::clone(&client), &fleet.der)?,
        })
    }

    fn shake(&self) -> Result<()> {
        self.runtime.block_on(async {
            let (near, far) = duplex(1 << 16);
            let accepting = async {
                let (mut stream, chain) = self.acceptor.accept(far).await?;
                ensure!(chain.is_some(), "the client is nobody");
                stream.write_all(b"!").await?;
                stream.flush().await?;
                Ok(stream)
            };
            let connecting = async {
                let mut stream = self.connector.connect(SERVER, near).await?;
                let mut byte = [0];
                stream.read_exact(&mut byte).await?;
                anyhow::Ok(stream)
            };
            let (accepted, connected) = tokio::join!(accepting, connecting);
            accepted?;
            let group = connected?.get_ref().1.negotiated_key_exchange_group();
            agreed(group)
        })
    }
}

/// Whether it was the hybrid group.
fn agreed(group: Option<&'static dyn rustls::crypto::SupportedKxGroup>) -> Result<()> {
    let name = group.context("a handshake agrees on a group")?.name();
    ensure!(name == GROUP, "{name:?}");
    Ok(())
}

struct Bare {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Bare {
    fn new(fleet: &Fleet) -> Result<Self> {
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
            ..aws_lc_rs::default_provider()
        });
        let versions = &[&rustls::version::TLS13];
        let clients =
            WebPkiClientVerifier::builder_with_provider(fleet.roots()?, Arc::clone(&provider));
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(clients.build()?)
            .with_single_cert(fleet.server.chain(), fleet.server.key())?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let servers =
            WebPkiServerVerifier::builder_with_provider(fleet.roots()?, Arc::clone(&provider));
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_webpki_verifier(servers.build()?)
            .with_client_auth_cert(fleet.client.chain(), fleet.client.key())?;
        client.resumption = Resumption::disabled();
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
            name: ServerName::try_from(SERVER)?,
        })
    }

    fn shake(&self) -> Result<()> {
        let mut client = ClientConnection::new(Arc::clone(&self.client), self.name.clone())?;
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes)?;
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest)?;
                server.process_new_packets()?;
            }
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes)?;
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest)?;
                client.process_new_packets()?;
            }
        }
        let chain = server.peer_certificates();
        chain.ok_or_else(|| anyhow!("the client is nobody"))?;
        agreed(client.negotiated_key_exchange_group())
    }
}
