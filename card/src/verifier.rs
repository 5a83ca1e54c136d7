//! Speaking to the verifier: over connections that are kept and used again, since a handshake costs more than a request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bartizan_attestation::certificates::{ChainError, Subject, Usage, verify_chain};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::host::{CardRefusal, Judgement};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::keys::{BegunSuccession, Chain};
use bartizan_attestation::measurement::SignedReport;
use bartizan_attestation::vault_counter::Mark;
use bartizan_channel::https::{Connection, Endpoint, Request, Response};
use bartizan_channel::{ChannelError, Connector, Fault};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use minicbor::bytes::ByteVec;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::anchors::{Anchors, FollowError};
use crate::identity::TlsIdentity;
use crate::standings::Standings;
use crate::unix_now;
use crate::vault::VaultError;

mod booted;
mod bundle;
mod idle;
mod problem;

pub use booted::tell;
use booted::{Heard, Told, is_not_accepted};
use idle::{Age, Idle};
pub(crate) use problem::Problem;

/// How long the verifier may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long the verifier's refusal of a host that it does not know the boot of may be looked into where somebody waits for the answer to
/// one question: less than they wait, so that they hear of the refusal, and do not take it for silence.
const TELLING: Duration = Duration::from_secs(12);
/// How long this host's vault may take to make an identity for it, whoever else waits for that too.
const VAULT_PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// Connections at once, idle ones included; further requests wait for their turn. Enough to keep a verifier busy, and
/// every one is used again: a handshake costs more processor time than a judgement.
const MAX_CONNECTIONS: usize = 32;
/// How long the verifier's CAs are believed to be the present ones, where somebody shows another one's certificate.
const CAS_FRESH: Duration = Duration::from_secs(5);
/// The same where the verifier's own token key is another one's: guests wait for the way to it, and each attestation comes by here.
const CAS_FRESH_FOR_TOKENS: Duration = Duration::from_secs(1);
/// How long the verifier's token certificates are believed to be the current ones.
const CERTIFICATES_FRESH: Duration = Duration::from_secs(30);

/// The verifier, as this host reaches it.
pub struct Verifier {
    endpoint: Endpoint,
    identity: Arc<TlsIdentity>,
    pub(crate) anchors: Arc<Anchors>,
    /// When its CAs were asked for last. Held while they are: whoever comes meanwhile waits for that answer.
    asked_for_cas: tokio::sync::Mutex<Option<Instant>>,
    turns: Semaphore,
    told: Told,
    standings: Standings,
    idle: Idle,
    token_certificates: Mutex<Option<(Instant, Vec<ByteVec>)>>,
}

#[derive(Deserialize)]
struct Nonce {
    nonce: String,
}

#[derive(Deserialize)]
struct Judged {
    verdict: String,
    token: String,
}

#[derive(Deserialize)]
struct Marked {
    counter: u64,
    mark: String,
}

#[derive(Deserialize)]
struct OperatorStanding {
    revoked: bool,
}

#[derive(Deserialize)]
struct TokenCertificates {
    token_certificates: Vec<Vec<String>>,
}

impl Verifier {
    /// Where it is.
    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What this host shows it.
    pub(crate) fn identity(&self) -> &TlsIdentity {
        &self.identity
    }

    /// The verifier at `endpoint`, authenticated under the fleet CA that is trusted at each connection.
    #[must_use]
    pub fn new(endpoint: Endpoint, identity: Arc<TlsIdentity>, anchors: Arc<Anchors>) -> Self {
        Self {
            endpoint,
            identity,
            anchors,
            asked_for_cas: tokio::sync::Mutex::default(),
            turns: Semaphore::new(MAX_CONNECTIONS),
            told: Told::default(),
            standings: Standings::new(),
            idle: Idle::default(),
            token_certificates: Mutex::default(),
        }
    }

    /// Makes a new TLS identity, blocking; connections by the former one are not used again.
    pub(crate) fn rotate(&self) -> Result<(), VaultError> {
        self.identity.rotate()?;
        self.idle.outdate();
        Ok(())
    }

    /// A nonce for a guest.
    pub async fn nonce(&self, guest: GuestIdentity) -> Result<[u8; 32], CardRefusal> {
        let body = json!({ "guest": guest.to_string() })
            .to_string()
            .into_bytes();
        let answer: Nonce = self.ask("POST", "/v1/nonces", body).await?;
        let nonce = B64
            .decode(&answer.nonce)
            .ok()
            .and_then(|nonce| nonce.try_into().ok());
        nonce.ok_or_else(|| unclear("its nonce has not 32 bytes"))
    }

    /// The judgement of a report.
    pub async fn judge(
        &self,
        report: &SignedReport,
        guest_chain: &Chain,
    ) -> Result<Judgement, CardRefusal> {
        let chain: Vec<_> = guest_chain
            .iter()
            .map(|certificate| B64.encode(&**certificate))
            .collect();
        let body = json!({
            "report": B64.encode(&report.message),
            "page_digests": report.page_digests.as_ref().map(|digests| B64.encode(digests)),
            "guest_chain": chain,
        });
        let answer: Judged = self
            .ask("POST", "/v1/reports", body.to_string().into_bytes())
            .await?;
        self.forget_certificates_unless_signed_by(&answer.token);
        let token_certificates = self.token_certificates_if_there().await?;
        Ok(Judgement {
            verdict: answer.verdict,
            token: answer.token,
            token_certificates,
            fleet_cas: (**self.anchors.known().lineage()).clone(),
        })
    }

    /// The chain, leaf first, of the card identity key that the present one names.
    pub async fn succeed(&self, begun: &BegunSuccession) -> Result<Vec<Vec<u8>>, CardRefusal> {
        let tpm = begun.certified.as_ref().map(|said| {
            json!({
                "public": B64.encode(&*said.public),
                "attested": B64.encode(&*said.attested),
                "signature": B64.encode(&*said.signature),
            })
        });
        let body = json!({ "succession": B64.encode(&*begun.signed), "tpm": tpm });
        let body = body.to_string().into_bytes();
        let answer: Enrolled = self.ask("POST", "/v1/hosts/succeed", body).await?;
        answer.chain()
    }

    /// Learns whether the fleet CA was replaced, and follows it.
    pub async fn follow_fleet_ca(&self) -> Result<(), FollowError> {
        let mut asked = self.asked_for_cas.lock().await;
        self.ask_for_cas(&mut asked).await
    }

    async fn ask_for_cas(&self, asked: &mut Option<Instant>) -> Result<(), FollowError> {
        let told = self.ask("GET", "/v1/fleet-ca", Vec::new()).await;
        let followed = match told {
            Ok(lineage) => self.anchors.follow(lineage).await,
            Err(refusal) => Err(refusal.into()),
        };
        *asked = Some(Instant::now());
        followed
    }

    /// The same where something was certified by a CA that is not known; not often, since anybody can show such a thing.
    pub(crate) async fn follow_fleet_ca_if_due(&self) {
        self.follow_fleet_ca_unless_asked_within(CAS_FRESH).await;
    }

    async fn follow_fleet_ca_unless_asked_within(&self, fresh: Duration) {
        let mut asked = self.asked_for_cas.lock().await;
        if asked.is_some_and(|at| at.elapsed() < fresh) {
            return;
        }
        if let Err(error) = self.ask_for_cas(&mut asked).await {
            tracing::warn!(%error, "whether the fleet CA was replaced is not known");
        }
    }

    /// Reports in with a statement of the vault's: its counter, and the mark for it.
    pub async fn report_in(&self, statement: &[u8]) -> Result<(u64, Mark), CardRefusal> {
        let body = json!({ "statement": B64.encode(statement) });
        let body = body.to_string().into_bytes();
        let answer: Marked = self.ask("POST", "/v1/hosts/counter", body).await?;
        let mark = B64.decode(&answer.mark).ok();
        let mark = mark.and_then(|mark| mark.try_into().ok());
        let mark = mark.ok_or_else(|| unclear("its mark has not 32 bytes"))?;
        Ok((answer.counter, mark))
    }

    /// Whether an operator is revoked.
    pub async fn is_revoked(&self, operator: &str) -> Result<bool, CardRefusal> {
        // Its characters need no encoding in a path.
        if Subject::check_operator(operator).is_err() {
            let why = format!("{operator:?} is no operator's name");
            return Err(CardRefusal::RevocationsUnknown(why));
        }
        let path = format!("/v1/operators/{operator}/standing");
        let question = async {
            let asked =
                self.exchange_telling::<OperatorStanding>(TELLING, "GET", &path, Vec::new());
            asked.await.map(|standing| standing.revoked)
        };
        self.standings.ask(operator, question).await
    }

    /// The token keys' certificates; none where the verifier cannot be asked and none are known.
    pub async fn token_certificates_if_there(&self) -> Result<Vec<ByteVec>, CardRefusal> {
        match self.token_certificates().await {
            Err(refusal) if is_unasked(&refusal) => Ok(Vec::new()),
            known => known,
        }
    }

    /// The token keys' certificates. While the verifier cannot be asked the last ones known.
    async fn token_certificates(&self) -> Result<Vec<ByteVec>, CardRefusal> {
        let known = self
            .token_certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((at, certificates)) = &known
            && at.elapsed() < CERTIFICATES_FRESH
        {
            return Ok(certificates.clone());
        }
        let fetched = self
            .ask::<TokenCertificates>("GET", "/v1/token-certificates", Vec::new())
            .await;
        let fetched = match (fetched, known) {
            (Ok(fetched), _) => fetched,
            (Err(refusal), Some((_, certificates))) if is_unasked(&refusal) => {
                return Ok(certificates);
            }
            (Err(refusal), _) => return Err(refusal),
        };
        let leaves = fetched
            .token_certificates
            .iter()
            .filter_map(|chain| chain.first());
        let certificates = leaves
            .map(|leaf| B64.decode(leaf).map(ByteVec::from))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| unclear("its token certificates are not base64url"))?;
        // Before anybody is told of a certificate by a CA that is not known yet.
        if !self.knows_issuer(certificates.first()) {
            self.follow_fleet_ca_unless_asked_within(CAS_FRESH_FOR_TOKENS)
                .await;
            // The verifier may not tell of it yet.
            if !self.knows_issuer(certificates.first()) {
                tracing::warn!(
                    "the verifier's token key is certified by a fleet CA that is not known"
                );
                // Not kept: the next one asks again.
                return Ok(certificates);
            }
        }
        let mut known = self
            .token_certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), certificates.clone()));
        Ok(certificates)
    }

    fn knows_issuer(&self, newest: Option<&ByteVec>) -> bool {
        newest.is_none_or(|leaf| {
            let chain = [leaf.to_vec()];
            let verified = verify_chain(&chain, &self.anchors.ca(), unix_now(), Usage::Token);
            !matches!(verified, Err(ChainError::ForeignCa))
        })
    }

    /// After a rotation the first token names a certificate that is not known yet: the known ones are fetched anew,
    /// or the guest could not verify what it gets.
    fn forget_certificates_unless_signed_by(&self, token: &str) {
        let mut known = self
            .token_certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let signer = signer_of(token);
        let listed = known.as_ref().is_some_and(|(_, certificates)| {
            certificates
                .iter()
                .any(|certificate| Some(sha256(certificate).to_vec()) == signer)
        });
        if !listed {
            *known = None;
        }
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<A, CardRefusal> {
        let turn = tokio::time::timeout(DEADLINE, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(busy(MAX_CONNECTIONS));
        };
        self.exchange(method, path, body).await
    }

    /// Asks; where the verifier does not know this host's boot, tells it and asks again: it has looked at nothing by then.
    async fn exchange<A: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<A, CardRefusal> {
        self.exchange_telling(Duration::MAX, method, path, body)
            .await
    }

    /// The same; what is not told within that time is as if there were nothing to tell.
    async fn exchange_telling<A: DeserializeOwned>(
        &self,
        patience: Duration,
        method: &'static str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<A, CardRefusal> {
        let accepted = self.told.accepted();
        let refusal = match self.exchange_once(method, path, body.clone()).await {
            Err(refusal) if is_not_accepted(&refusal) => refusal,
            answer => return answer,
        };
        let telling = tokio::time::timeout(patience, self.tell_boot(accepted));
        match telling.await.unwrap_or(Ok(Heard::NothingToTell))? {
            Heard::Accepted => self.exchange_once(method, path, body).await,
            Heard::NothingToTell => Err(refusal),
        }
    }

    async fn exchange_once<A: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<A, CardRefusal> {
        let (mut connection, age) = match self.idle.take() {
            Some(idle) => idle,
            None => self.open().await?,
        };
        let request = Request {
            method,
            path: path.to_owned(),
            body,
        };
        let response = match connection.send(request, MAX_ANSWER, DEADLINE).await {
            Ok(response) => response,
            // Never sent a second time: a report's nonce is spent by the first.
            Err(error) => return Err(unanswered(&error)),
        };
        self.idle.keep(connection, age);
        understand(&response)
    }

    async fn open(&self) -> Result<(Connection, Age), CardRefusal> {
        let age = self.idle.age();
        let begun = Instant::now();
        let shown = tokio::task::block_in_place(|| self.identity.current())?;
        // Whoever waits for the answer gives up now or soon, and must not take the vault's silence for the verifier's.
        if begun.elapsed() > VAULT_PATIENCE {
            let why =
                "it took too long to make this host's TLS identity; the verifier was not asked";
            return Err(CardRefusal::VaultAway(why.into()));
        }
        let identity = Arc::clone(&shown.identity);
        let connector =
            Connector::authenticated(move || Arc::clone(&identity), self.anchors.ca().der());
        let connector = connector.map_err(|error| unopened(&error))?;
        let opened = Connection::open(&connector, &self.endpoint, DEADLINE).await;
        let opened = opened.map_err(|error| match shown.unsigned() {
            Some(vault) if vault.is_absent() => CardRefusal::VaultAway(format!(
                "the verifier was not asked, since its handshake was not signed: {vault}"
            )),
            _ => unopened(&error),
        });
        Ok((opened?, age))
    }
}

/// What a host gets that was certified.
#[derive(Deserialize)]
pub(crate) struct Enrolled {
    chain: Vec<String>,
}

impl Enrolled {
    /// The chain, DER, leaf first.
    pub(crate) fn chain(&self) -> Result<Vec<Vec<u8>>, CardRefusal> {
        let decoded = self.chain.iter().map(|certificate| B64.decode(certificate));
        decoded
            .collect::<Result<_, _>>()
            .map_err(|_| unclear("its certificates are not base64url"))
    }
}

/// The digest of the signing certificate that a token's header names (`x5t#S256`, RFC 7515 section 4.1.8).
fn signer_of(token: &str) -> Option<Vec<u8>> {
    let header = B64.decode(token.split('.').next()?).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    B64.decode(header.get("x5t#S256")?.as_str()?).ok()
}

pub(crate) fn understand<A: DeserializeOwned>(response: &Response) -> Result<A, CardRefusal> {
    if (200..300).contains(&response.status) {
        return serde_json::from_slice(&response.body).map_err(|error| unclear(&error.to_string()));
    }
    let problem = String::from_utf8_lossy(&response.body).into_owned();
    Err(CardRefusal::VerifierRefused {
        status: response.status,
        problem,
    })
}

fn unclear(why: &str) -> CardRefusal {
    CardRefusal::VerifierUnclear(why.to_owned())
}

/// Of the card's own making: no silence of the verifier's.
pub(crate) fn busy(under_way: usize) -> CardRefusal {
    CardRefusal::Busy(format!(
        "{under_way} requests are under way to the verifier"
    ))
}

/// Whether the verifier cannot be asked at present, or this host cannot say who it is: what it said before is still of use.
const fn is_unasked(refusal: &CardRefusal) -> bool {
    matches!(
        refusal,
        CardRefusal::VerifierAway(_)
            | CardRefusal::Busy(_)
            | CardRefusal::LinkUnusable(_)
            | CardRefusal::VaultAway(_)
    )
}

/// Without a connection the verifier is absent, whoever is in the way. Not so where this host's settings cannot be used, its vault did
/// not sign the handshake, or somebody answers under another fleet CA.
fn unopened(error: &ChannelError) -> CardRefusal {
    match error.fault() {
        Fault::Away => CardRefusal::VerifierAway(error.to_string()),
        Fault::Untrusted | Fault::Unusable => CardRefusal::LinkUnusable(error.to_string()),
    }
}

/// Without an answer it is absent. What cannot be read, or refuses this host's certificate, is an answer: the verifier has shown its
/// own by then.
pub(crate) fn unanswered(error: &ChannelError) -> CardRefusal {
    match error.fault() {
        Fault::Away => CardRefusal::VerifierAway(error.to_string()),
        Fault::Untrusted | Fault::Unusable => unclear(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::certificates::Lineage;
    use bartizan_attestation::csr::EphemeralKey;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};

    use super::*;
    use crate::vault::Vault;

    /// A verifier that nobody ever reaches, and a vault that is not there.
    fn unreachable() -> Verifier {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = params.self_signed(&EphemeralKey::generate().unwrap());
        let endpoint = Endpoint {
            host: "127.0.0.1".into(),
            port: 1,
            server_name: "localhost".into(),
        };
        let vault = Vault::new("/nonexistent".into());
        let identity = TlsIdentity::new(vault.clone());
        let kept = Lineage::of(ca.unwrap().der().to_vec());
        let anchors = Anchors::new(vault, kept).unwrap();
        Verifier::new(endpoint, Arc::new(identity), Arc::new(anchors))
    }

    #[tokio::test(start_paused = true)]
    async fn congestion_of_the_cards_own_is_no_absence() {
        let verifier = unreachable();
        let under_way = verifier.standings.taken().await;
        let refused = verifier.is_revoked("ann").await;
        assert!(matches!(refused, Err(CardRefusal::Busy(_))), "{refused:?}");
        drop(under_way);
        let most = u32::try_from(MAX_CONNECTIONS).unwrap();
        let under_way = verifier.turns.acquire_many(most).await.unwrap();
        let begun = BegunSuccession {
            signed: b"signed".to_vec().into(),
            certified: None,
        };
        let refused = verifier.succeed(&begun).await;
        assert!(matches!(refused, Err(CardRefusal::Busy(_))), "{refused:?}");
        // A result that is there already is not lost for it.
        let certificates = verifier.token_certificates_if_there().await;
        assert_eq!(certificates, Ok(Vec::new()));
        drop(under_way);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_vault_that_is_away_is_no_absence_of_the_verifier() {
        let verifier = unreachable();
        let refused = verifier.is_revoked("ann").await;
        assert!(
            matches!(refused, Err(CardRefusal::VaultAway(_))),
            "{refused:?}"
        );
        // A result that is there already is not lost for it, nor what was known.
        let certificates = verifier.token_certificates_if_there().await;
        assert_eq!(certificates, Ok(Vec::new()));
        let known = vec![ByteVec::from(b"known".to_vec())];
        let long_ago = Instant::now().checked_sub(2 * CERTIFICATES_FRESH).unwrap();
        *verifier.token_certificates.lock().unwrap() = Some((long_ago, known.clone()));
        let certificates = verifier.token_certificates_if_there().await;
        assert_eq!(certificates, Ok(known));
    }

    #[test]
    fn what_is_not_the_network_is_no_absence() {
        use std::io::{Error, ErrorKind};
        // What rustls makes of a signer that fails, and of a server of another fleet.
        let unsigned = ChannelError::Handshake(Error::new(ErrorKind::InvalidData, "not signed"));
        let name = ChannelError::ServerName("a b".into());
        for error in [unsigned, name] {
            let refusal = unopened(&error);
            assert!(
                matches!(refusal, CardRefusal::LinkUnusable(_)),
                "{refusal:?}"
            );
        }
        // The last is of an address of a family that this host does not use, tried after one where nobody listens.
        for kind in [
            libc::ECONNREFUSED,
            libc::EHOSTUNREACH,
            libc::ETIMEDOUT,
            libc::EADDRNOTAVAIL,
        ] {
            let silence = ChannelError::Connect(Error::from_raw_os_error(kind));
            assert!(matches!(unopened(&silence), CardRefusal::VerifierAway(_)));
        }
    }

    #[test]
    fn only_a_missing_answer_is_absence() {
        let too_large = ChannelError::TooLarge { limit: MAX_ANSWER };
        let refusal = unanswered(&too_large);
        assert!(matches!(refusal, CardRefusal::VerifierUnclear(_)));
        for silence in [
            ChannelError::TimedOut,
            ChannelError::Connect(std::io::ErrorKind::ConnectionReset.into()),
        ] {
            let refusal = unanswered(&silence);
            assert!(matches!(refusal, CardRefusal::VerifierAway(_)));
        }
        for body in ["", "{}", r#"{"revoked": "no"}"#, "<html>"] {
            let (status, body) = (200, body.as_bytes().to_vec());
            let answer = understand::<OperatorStanding>(&Response { status, body });
            assert!(matches!(answer, Err(CardRefusal::VerifierUnclear(_))));
        }
    }
}
