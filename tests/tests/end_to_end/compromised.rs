//! What an attacker can do who took over processes of an enrolled host: they have those processes' users, and with
//! these the links to the next process. The processes behind the links are the real ones.

pub(crate) mod tls_client;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bartizan_attestation::certificates::Usage;
use bartizan_attestation::cose::{MessageType, Unverified, sign1};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::host::{
    CardRefusal, CardReply, CardRequest, MAX_FRAME, Outcome, SupervisorReply, SupervisorRequest,
};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_attestation::keys::{Chain, NextKey, VaultReply, VaultRequest};
use bartizan_attestation::measurement::{Digest, Report};
use bartizan_local::{read_frame, write_frame};
use bartizan_tests::accounts::Account;
use bartizan_tests::stack::Host;
use serde_json::json;
use uuid::Uuid;

use crate::requests::Answer;

/// How long a process of the host may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A hypervisor that was taken over: it reaches the card, and its guests' supervisors.
#[derive(Clone, Copy)]
pub(crate) struct Hypervisor<'h>(pub(crate) &'h Host);

/// A card that was taken over: it reaches the vault.
#[derive(Clone, Copy)]
pub(crate) struct Card<'h>(pub(crate) &'h Host);

/// A key of the attacker's, and the chain that certifies it.
pub(crate) struct Credential {
    pub(crate) key: EphemeralKey,
    pub(crate) chain: Vec<Vec<u8>>,
}

impl Hypervisor<'_> {
    /// Asks the card.
    pub(crate) fn ask(self, request: &CardRequest) -> Result<CardReply> {
        let mut link = self.connect("run/card/card.sock")?;
        write_frame(&mut link, request, MAX_FRAME)?;
        Ok(read_frame(&mut link, MAX_FRAME)?)
    }

    /// A nonce of the verifier's for a guest.
    pub(crate) fn nonce(self, guest: GuestIdentity) -> Result<[u8; 32]> {
        match self.ask(&CardRequest::Nonce { guest })? {
            CardReply::Nonce(nonce) => Ok(nonce),
            other => bail!("no nonce: {other:?}"),
        }
    }

    /// The identity of one more boot of a VM.
    pub(crate) fn next_boot(self, vm: Uuid) -> Result<GuestIdentity> {
        let request = CardRequest::NextBoot {
            vm: *vm.as_bytes(),
            operator: "alice".into(),
        };
        match self.ask(&request)? {
            CardReply::Guest(guest) => Ok(guest),
            other => bail!("no boot: {other:?}"),
        }
    }

    /// A report key of its own, certified for a guest as a measurer's is.
    pub(crate) fn report_key(
        self,
        guest: GuestIdentity,
        launch_measurement: &Digest,
    ) -> Result<Credential> {
        let key = EphemeralKey::generate()?;
        let request = CardRequest::CertifyReportKey {
            csr: key.csr()?,
            guest,
            launch_measurement: launch_measurement.clone(),
        };
        match self.ask(&request)? {
            CardReply::Chain(chain) => Ok(Credential::new(key, chain)),
            other => bail!("no certificate: {other:?}"),
        }
    }

    /// The report of a guest's own measurer to a signed request; it goes to nobody else.
    pub(crate) fn measure(self, vm: Uuid, request: Vec<u8>) -> Result<Vec<u8>> {
        let mut link = self.connect(&format!("run/hypervisor/guests/{vm}/boot/ctl.sock"))?;
        let ask = SupervisorRequest::Measure { request };
        write_frame(&mut link, &ask, MAX_FRAME)?;
        match read_frame(&mut link, MAX_FRAME)? {
            SupervisorReply::Measured(Outcome::Report(report)) => Ok(report.message),
            other => bail!("no report: {other:?}"),
        }
    }

    /// Hands a report in, as if a guest had asked; what the verifier says.
    pub(crate) fn submit(self, report: &[u8], guest_chain: &[Vec<u8>]) -> Result<Answer> {
        let judge = CardRequest::Judge {
            report: report.to_vec().into(),
            guest_chain: guest_chain.iter().cloned().map(Into::into).collect(),
        };
        match self.ask(&judge)? {
            CardReply::Judged(judgement) => Ok(Answer {
                status: 200,
                body: json!({ "verdict": judgement.verdict, "token": judgement.token }),
            }),
            CardReply::Refused(CardRefusal::VerifierRefused { status, problem }) => Ok(Answer {
                status,
                body: serde_json::from_str(&problem).context("a problem document")?,
            }),
            other => bail!("the verifier did not answer: {other:?}"),
        }
    }

    fn connect(self, socket: &str) -> Result<UnixStream> {
        connect(self.0.users.hypervisor, &self.0.layout.path(socket))
    }
}

impl Card<'_> {
    /// Has the vault make the key that comes after the host's identity, and goes no further.
    pub(crate) fn begin_succession(self) -> Result<()> {
        let next = NextKey::New;
        match self.ask(&VaultRequest::BeginSuccession { next })? {
            VaultReply::Succession(_) => Ok(()),
            other => bail!("nothing was begun: {other:?}"),
        }
    }

    fn ask(self, request: &VaultRequest) -> Result<VaultReply> {
        let socket = self.0.layout.path("run/vault/vault.sock");
        ask_vault(self.0.users.card, &socket, request)
    }

    /// A key of its own, certified by the vault for as long as it likes.
    pub(crate) fn certify(
        self,
        usage: Usage,
        guest: GuestIdentity,
        launch_measurement: &Digest,
        lifetime_s: u64,
    ) -> Result<Credential> {
        let key = EphemeralKey::generate()?;
        let (csr, launch_measurement) = (key.csr()?, launch_measurement.clone());
        let request = match usage {
            Usage::ReportKey => VaultRequest::CertifyReportKey {
                csr,
                guest,
                launch_measurement,
                lifetime_s,
            },
            Usage::GuestKey => VaultRequest::CertifyGuestKey {
                csr,
                guest,
                launch_measurement,
                lifetime_s,
            },
            other => bail!("a card has no {other:?} certified for a guest"),
        };
        match self.ask(&request)? {
            VaultReply::Certificates(chain) => Ok(Credential::new(key, chain)),
            other => bail!("no certificate: {other:?}"),
        }
    }
}

impl Credential {
    fn new(key: EphemeralKey, chain: Chain) -> Self {
        let chain = chain.into_iter().map(Vec::from).collect();
        Self { key, chain }
    }

    /// Signs a report as a measurer does.
    pub(crate) fn seal(&self, report: &Report) -> Result<Vec<u8>> {
        let kind = MessageType::Report;
        Ok(sign1(kind, &report.encode(), &self.chain, &self.key)?)
    }

    /// Signs a request as a guest does.
    pub(crate) fn sign(&self, request: &[u8]) -> Result<Vec<u8>> {
        let kind = MessageType::MeasurementRequest;
        Ok(sign1(kind, request, &self.chain, &self.key)?)
    }
}

/// What a signed report says, to be forged from.
pub(crate) fn opened(report: &[u8]) -> Result<Report> {
    let message = Unverified::parse(report, MessageType::Report)?;
    Ok(Report::decode(message.unverified_payload())?)
}

/// The certificates that a signed report brings along, leaf first.
pub(crate) fn chain_of(report: &[u8]) -> Result<Vec<Vec<u8>>> {
    let message = Unverified::parse(report, MessageType::Report)?;
    Ok(message.chain().to_vec())
}

fn ask_vault(card: Account, socket: &Path, request: &VaultRequest) -> Result<VaultReply> {
    let mut link = connect(card, socket)?;
    write_frame(&mut link, request, VaultRequest::MAX_FRAME)?;
    Ok(read_frame(&mut link, VaultRequest::MAX_FRAME)?)
}

fn connect(user: Account, socket: &Path) -> Result<UnixStream> {
    let link = user.connect(socket)?;
    link.set_read_timeout(Some(PATIENCE))?;
    link.set_write_timeout(Some(PATIENCE))?;
    Ok(link)
}
