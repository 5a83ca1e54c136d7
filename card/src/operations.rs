//! The operations of this host: each is signed by an operator, authorised here, written down, done, and its end written down.
//!
//! ```text
//! bytes ──verify──► SignedOrder ──authorise──► AuthorisedOperation ──not revoked──► Log::begin ──► Begun ──perform──► Log::end
//!   └──────────────────┴─────────── refused, and written down ──────────────────────────┘
//! ```

mod hypervisor;
mod log;
mod perform;
mod refusals;
mod shown;
mod verifier;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_attestation::host::{CardRefusal, OPERATION_FRAME, OperationReply, OperationRequest};
use bartizan_attestation::operation::{AuthorisedOperation, OperationRefusal, SignedOrder};
use bartizan_local::FrameError;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::server::Serves;
use crate::service::Card;
use crate::unix_now;

pub use log::{Aside, Clock, LogFileError};
use log::{Begun, Log};
use shown::Shown;

/// Puts the log of operations aside, broken or not, and begins another that names it. A card that has it does so when it starts next.
pub fn set_aside(state_dir: &Path, clock: Clock) -> Result<Aside, LogFileError> {
    log::set_aside(state_dir, unix_now(), clock)
}

/// The log of operations: opened before the card is confined, and before there is an identity.
pub struct OperationsLog(Log);

impl OperationsLog {
    /// Opens it, with all that is to be found out about it. Blocks.
    pub fn open(config: &Config) -> Result<Self, LogFileError> {
        Ok(Self(Log::open(&config.state_dir, unix_now())?))
    }
}

/// What answers operators.
pub struct Operations {
    card: Arc<Card>,
    log: Log,
    hypervisor: PathBuf,
}

impl Operations {
    /// The operations of a card.
    #[must_use]
    pub fn new(config: &Config, card: Arc<Card>, log: OperationsLog) -> Arc<Self> {
        Arc::new(Self {
            card,
            log: log.0,
            hypervisor: config.hypervisor_socket.clone(),
        })
    }

    /// Writes down what was refused beyond what is written down at once; for ever.
    pub async fn keep_log(&self) {
        loop {
            tokio::time::sleep(refusals::PAUSE).await;
            tokio::task::block_in_place(|| self.log.summarise(unix_now()));
        }
    }

    async fn operate(
        &self,
        bytes: &[u8],
        uid: u32,
        before: &mpsc::Sender<OperationReply>,
    ) -> Result<OperationReply, OperationRefusal> {
        let verify = || {
            let ca = self.card.anchors.ca();
            let verify = || SignedOrder::verify(bytes, &ca, self.log.not_before(unix_now()));
            tokio::task::block_in_place(verify)
        };
        let mut verified = verify();
        if matches!(verified, Err(OperationRefusal::Signer(_))) {
            // The fleet CA may have been replaced, and have certified them since.
            self.card.verifier.follow_fleet_ca_if_due().await;
            verified = verify();
        }
        let signed = verified.inspect_err(|refusal| self.note(None, refusal, uid))?;
        let begun = self.begin(&signed).await;
        let begun = begun.inspect_err(|refusal| self.note(Some(&signed), refusal, uid))?;
        tracing::info!(
            operator = signed.operator(),
            operation = signed.order().operation.name(),
            "ordered"
        );
        let mut shown = Shown::new(before);
        let done = self.perform(&signed, &begun, &mut shown).await;
        if shown.has_begun() {
            tracing::info!(operator = signed.operator(), "{shown}");
        }
        let outcome = perform::outcome(&done, &shown);
        tokio::task::block_in_place(|| self.log.end(begun, outcome, unix_now()));
        done
    }

    /// Every check, and the proof that it is on disk before anything is done.
    async fn begin(&self, signed: &SignedOrder) -> Result<Begun, OperationRefusal> {
        // The clock may be set back; what is written down never is.
        let now_s = tokio::task::block_in_place(|| self.log.not_before(unix_now()));
        let authorised = signed.authorise(self.card.id, now_s)?;
        self.not_revoked(authorised).await?;
        tokio::task::block_in_place(|| self.log.begin(authorised, unix_now()))
    }

    /// By the rule that launches have: see [`crate::operators`].
    async fn not_revoked(&self, by: AuthorisedOperation<'_>) -> Result<(), OperationRefusal> {
        let checked = self.card.check_operator(by.signed().operator()).await;
        checked.map_err(|refusal| match refusal {
            CardRefusal::OperatorRevoked(name) => OperationRefusal::OperatorRevoked(name),
            CardRefusal::RevocationsUnknown(why) => OperationRefusal::StandingUnknown(why),
            other => verifier::host_refused(&other)
                .unwrap_or_else(|| OperationRefusal::StandingUnasked(other.to_string())),
        })
    }

    fn note(&self, signed: Option<&SignedOrder>, refusal: &OperationRefusal, uid: u32) {
        tracing::warn!(%refusal, uid, operator = signed.map(SignedOrder::operator), "refused");
        tokio::task::block_in_place(|| self.log.refuse(signed, refusal, uid, unix_now()));
    }
}

impl Serves for Operations {
    type Request = OperationRequest;
    type Reply = OperationReply;
    const CONNECTIONS: usize = 128;
    const MAX_REQUEST: usize = OPERATION_FRAME;

    async fn answer(
        &self,
        request: OperationRequest,
        uid: u32,
        before: mpsc::Sender<OperationReply>,
    ) -> OperationReply {
        match request {
            OperationRequest::Describe => OperationReply::Host(self.card.id),
            OperationRequest::Perform(order) => self
                .operate(&order, uid, &before)
                .await
                .unwrap_or_else(OperationReply::Refused),
        }
    }

    fn unreadable(&self, error: &FrameError, uid: u32) -> Option<OperationReply> {
        if matches!(error, FrameError::Closed | FrameError::Io(_)) {
            return None;
        }
        let refusal = OperationRefusal::Malformed(error.to_string());
        self.note(None, &refusal, uid);
        Some(OperationReply::Refused(refusal))
    }
}
