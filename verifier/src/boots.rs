//! Judging how a host was booted: from its event log to the releases that it is of.
//!
//! ```text
//!  log ─a walk through releases in force─► phases ─those of the host's own certificate?─► kept
//! ```
//!
//! A certificate by a card carries the register's values at the end of each phase of its host's boot, and the card's vault
//! certifies none but those of the boot that it was told of itself. So the log, which nobody signs, is believed where it
//! replays to what the certificate says. Of a host that enrolled with a TPM it must also come to what the TPM signs that its PCRs
//! hold, for this very connection; and what its own firmware measured before is compared with the same quote ([`crate::firmware`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::http::StatusCode;
use bartizan_attestation::boot::{
    BootAppraisalError, EventLog, LogError, Phase, Register, RegisterValues, Sha384,
    VerifiedManifest,
};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::identity::CardId;
use bartizan_attestation::tpm::{QuoteError, verify_quote};

use crate::clock::{now_ms, now_s};
use crate::config::RegisterPcrs;
use crate::firmware::{self, ComparedFirmware, FirmwareError, MatchedReference};
use crate::peer::ChannelBinding;
use crate::problem::ProblemType;
use crate::quota::BootQuotaError;
use crate::service::Service;
use crate::storage::{BootedRelease, HostBoot, PcrValues, StorageError};
use crate::task::{TaskError, blocking};

/// A boot is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The log is none.
    #[error("the event log is refused: {0}")]
    Log(#[from] LogError),
    /// The log is of no boot that is allowed.
    #[error(transparent)]
    Appraisal(#[from] BootAppraisalError),
    /// It is not the log of the boot that the certificate is of.
    #[error(
        "the event log is not of the boot that this host's certificate is of: the certificate says {certified}, the log {logged}"
    )]
    OtherBoot {
        /// What the certificate says, in phases and digests.
        certified: String,
        /// What the log comes to.
        logged: String,
    },
    /// It has not come far enough.
    #[error("the boot has not ended phase {due} yet; hand its log in again when it has")]
    UnderWay {
        /// The phase that must have ended.
        due: Phase,
    },
    /// Nobody wants to know.
    #[error("this verifier demands no measured boots; there is nothing to hand in")]
    NotDemanded,
    /// A host with a TPM has no quote.
    #[error("this host enrolled with a TPM: its boot is accepted with a quote only")]
    NoQuote,
    /// The quote is refused.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// The TPM's registers are others.
    #[error(
        "PCRs {} and {} of the TPM do not hold what the event log comes to; they must be the `measurement_pcr` and `authority_pcr` of the vault's configuration",
        .own.measurement,
        .own.authority
    )]
    OtherRegisters {
        /// Which the registers are.
        own: RegisterPcrs,
    },
    /// What the host's own firmware measured is refused.
    #[error(transparent)]
    Firmware(#[from] Box<FirmwareError>),
    /// The host's boot is not one that was accepted.
    #[error(
        "host {card} was not booted from releases that are registered and in force, or its firmware is none that is: {}; hand in the log of its boot, and see `bartizan release list` and `bartizan firmware list`",
        named(.phases)
    )]
    NotAccepted {
        /// The host's card.
        card: CardId,
        /// The phases that its certificate names.
        phases: Vec<Sha384>,
    },
    /// The host hands in too often.
    #[error(transparent)]
    Quota(#[from] BootQuotaError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It was not ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl ProblemType for BootError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Log(_) => ("boot-log-malformed", StatusCode::UNPROCESSABLE_ENTITY),
            Self::Appraisal(BootAppraisalError::UnknownRelease { .. }) => {
                ("boot-release-unknown", StatusCode::FORBIDDEN)
            }
            Self::Appraisal(BootAppraisalError::Stopped { .. }) => {
                ("boot-stopped", StatusCode::FORBIDDEN)
            }
            Self::Appraisal(_) => ("boot-refused", StatusCode::FORBIDDEN),
            Self::OtherBoot { .. } => ("boot-not-certified", StatusCode::FORBIDDEN),
            Self::UnderWay { .. } => ("boot-under-way", StatusCode::CONFLICT),
            Self::NotDemanded => ("boot-not-demanded", StatusCode::CONFLICT),
            Self::NoQuote => ("boot-without-quote", StatusCode::FORBIDDEN),
            Self::Quote(_) => ("boot-quote-refused", StatusCode::FORBIDDEN),
            Self::OtherRegisters { .. } => ("boot-not-quoted", StatusCode::FORBIDDEN),
            Self::Firmware(error) => error.kind(),
            Self::NotAccepted { .. } => ("boot-not-accepted", StatusCode::FORBIDDEN),
            Self::Quota(error) => error.kind(),
            Self::Storage(error) => error.kind(),
            Self::Task(error) => error.kind(),
        }
    }

    fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::UnderWay { .. } => Some(1),
            Self::Quota(error) => error.retry_after_s(),
            Self::Storage(error) => error.retry_after_s(),
            Self::Firmware(error) => error.retry_after_s(),
            Self::Task(error) => error.retry_after_s(),
            _ => None,
        }
    }
}

/// What a host hands in of its boot.
#[derive(Debug)]
pub struct HandedIn {
    /// The host's card.
    pub card: CardId,
    /// The phases that the certificate of its connection names.
    pub certified: Vec<Sha384>,
    /// SHA-256 over that certificate, and its last second.
    pub certificate: ([u8; 32], u64),
    /// The event log, CEL-CBOR.
    pub log: Vec<u8>,
    /// What its TPM says.
    pub quote: Option<Quote>,
    /// What its own firmware measured.
    pub firmware: Option<Vec<u8>>,
    /// Of its connection.
    pub binding: Option<ChannelBinding>,
}

/// What a TPM says of its PCRs.
#[derive(Debug)]
pub struct Quote {
    /// TPMS_ATTEST.
    pub attested: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// What the quoted PCRs hold.
    pub pcrs: BTreeMap<u8, Sha384>,
}

/// A boot that is accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The releases that it is of: the base, the bundle.
    pub releases: [BootedRelease; 2],
    /// The last phase that has ended.
    pub phase: Phase,
    /// Whether a TPM has quoted its registers.
    pub quoted: bool,
    /// The reference that the host's firmware is one of.
    pub firmware: Option<MatchedReference>,
}

/// Judges a boot, and keeps it.
pub async fn accept(service: &Arc<Service>, handed_in: HandedIn) -> Result<Accepted, BootError> {
    let HandedIn {
        card,
        certified,
        certificate: (certificate, not_after),
        log,
        quote,
        firmware,
        binding,
    } = handed_in;
    if !service.config.measured_boot.is_demanded() {
        return Err(BootError::NotDemanded);
    }
    service.boots.spend(card, Instant::now())?;
    let (read, log) = blocking(move || EventLog::from_cbor(&log).map(|read| (read, log))).await??;
    // A boot has two releases; a log that says more is none.
    let named: Vec<_> = read.releases().copied().take(2).collect();
    let known = service.storage.releases_in_force(&named).await?;
    let appraise = move || read.appraise(&known).map(|appraised| (appraised, known));
    let (appraised, known) = blocking(appraise).await??;
    if appraised.phases() != certified {
        return Err(BootError::OtherBoot {
            certified: self::named(&certified),
            logged: self::named(appraised.phases()),
        });
    }
    let due = Phase::Hypervisor;
    let phase = appraised.completed().filter(|last| *last >= due);
    let releases: Result<[_; 2], _> = booted_releases(appraised.releases(), &known).try_into();
    let (Ok(releases), Some(phase)) = (releases, phase) else {
        return Err(BootError::UnderWay { due });
    };
    let registers = appraised.registers();
    let quoted = check_quote(service, card, quote, binding, registers).await?;
    let has_quoted = quoted.is_some();
    let firmware = firmware::judge(service, card, quoted, firmware)
        .await
        .map_err(Box::new)?;
    let boot = HostBoot {
        phases: certified.clone(),
        releases: releases.each_ref().map(|release| release.manifest),
        appraised_at_ms: now_ms(),
    };
    service.storage.add_host_boot(card, &boot, &log).await?;
    let matched = firmware.as_ref().and_then(|of| of.reference.clone());
    if has_quoted {
        let quoted = &service.quoted;
        quoted.add(certificate, (card, certified), not_after, firmware, now_s());
    }
    let [base, bundle] = boot.releases;
    tracing::info!(%card, %base, %bundle, "boot accepted");
    Ok(Accepted {
        releases,
        phase,
        quoted: has_quoted,
        firmware: matched,
    })
}

/// What is known of the releases that a boot is of.
fn booted_releases(manifests: &[Sha384], known: &[VerifiedManifest]) -> Vec<BootedRelease> {
    let known = |manifest| known.iter().find(|known| known.sha384() == manifest);
    let found = manifests.iter().filter_map(known);
    found
        .map(|known| BootedRelease {
            manifest: *known.sha384(),
            product: known.manifest().product.clone(),
            version: known.manifest().version,
        })
        .collect()
}

/// With a TPM, the registers are what the TPM says that they are, now and on this connection. Answers what it says of the other PCRs.
async fn check_quote(
    service: &Service,
    card: CardId,
    quote: Option<Quote>,
    binding: Option<ChannelBinding>,
    registers: &RegisterValues,
) -> Result<Option<PcrValues>, BootError> {
    let host = service.storage.host(card).await?;
    let Some(tpm) = host.and_then(|host| host.tpm) else {
        return Ok(None);
    };
    let (quote, binding) = quote.zip(binding).ok_or(BootError::NoQuote)?;
    let key = PublicKey::from_spki_der(&tpm.attestation_key)
        .map_err(|_| StorageError::Damaged { table: "hosts" })?;
    let quote = blocking(move || {
        let (nonce, pcrs) = (&binding.0, &quote.pcrs);
        verify_quote(&quote.attested, &quote.signature, &key, nonce, pcrs).map(|()| quote)
    });
    let pcrs = quote.await??.pcrs;
    // Not the host's to choose: any log can be told to PCRs that are still at their start.
    let own = service.config.measured_boot.register_pcrs();
    let holds = |number: u8, register: Register| pcrs.get(&number) == Some(&registers.of(register));
    let hold =
        holds(own.measurement, Register::Measurement) && holds(own.authority, Register::Authority);
    if !hold {
        return Err(BootError::OtherRegisters { own });
    }
    let mut others = pcrs;
    others.retain(|pcr, _| ![own.measurement, own.authority].contains(pcr));
    Ok(Some(others))
}

/// Checks that the boot of a host's TLS certificate is an accepted one; with a TPM, that it has quoted on a connection with that
/// certificate, its firmware included where that is demanded. Answers what its firmware was compared with.
pub async fn present(
    service: &Service,
    card: CardId,
    phases: &[Sha384],
    certificate: &[u8; 32],
) -> Result<Option<ComparedFirmware>, BootError> {
    let quoted = service.quoted.of(certificate);
    present_as(service, card, phases, quoted).await
}

/// The same for the certificate of a host's enclave: it is of the boot that the host handed in, and counts where the host's own
/// certificate of that boot does.
pub async fn present_enclave(
    service: &Service,
    card: CardId,
    phases: &[Sha384],
) -> Result<(), BootError> {
    let quoted = service.quoted.of_boot(card, phases, now_s());
    present_as(service, card, phases, quoted).await.map(drop)
}

async fn present_as(
    service: &Service,
    card: CardId,
    phases: &[Sha384],
    quoted: Option<Option<ComparedFirmware>>,
) -> Result<Option<ComparedFirmware>, BootError> {
    releases(service, card, phases).await?;
    let measured_boot = &service.config.measured_boot;
    if !measured_boot.is_demanded() {
        return Ok(None);
    }
    let not_accepted = || BootError::NotAccepted {
        card,
        phases: phases.to_vec(),
    };
    let Some(mut firmware) = quoted else {
        let has_tpm = service.storage.has_tpm(card).await?;
        let lacking = has_tpm || measured_boot.firmware_of(has_tpm).is_some();
        return if lacking {
            Err(not_accepted())
        } else {
            Ok(None)
        };
    };
    let matched = firmware.as_mut().map(|compared| &mut compared.reference);
    if let Some(reference) = matched
        && let Some(known) = reference
        && !service.storage.is_firmware_in_force(&known.id).await?
    {
        *reference = None;
    }
    let referenced = firmware
        .as_ref()
        .and_then(|compared| compared.reference.as_ref());
    if measured_boot.firmware_of(true).is_some() && referenced.is_none() {
        return Err(not_accepted());
    }
    Ok(firmware)
}

/// The releases that a host with a certificate of these phases was booted from; `None` where no boot need be measured
/// and this one was not, or is of no release that is registered.
pub async fn releases(
    service: &Service,
    card: CardId,
    phases: &[Sha384],
) -> Result<Option<[BootedRelease; 2]>, BootError> {
    // Before that phase has ended the host may still be stopped.
    let far_enough = phases.len() >= usize::from(Phase::Hypervisor.number());
    let found = match far_enough {
        true => service.storage.releases_of_boot(card, phases).await?,
        false => None,
    };
    if found.is_none() && service.config.measured_boot.is_demanded() {
        return Err(BootError::NotAccepted {
            card,
            phases: phases.to_vec(),
        });
    }
    Ok(found)
}

/// Phases for people: `card 1f3a…, devices 22c0…`.
fn named(phases: &[Sha384]) -> String {
    if phases.is_empty() {
        return "no measured phase".into();
    }
    let named = Phase::ALL.into_iter().zip(phases);
    let named: Vec<_> = named
        .map(|(phase, digest)| format!("{} {digest}", phase.name()))
        .collect();
    named.join(", ")
}
