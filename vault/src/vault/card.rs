//! What a host's vault does: the card identity, and the short-lived certificates that it issues.

use bartizan_attestation::certificates::{Subject, Usage};
use bartizan_attestation::cose::{PublicKey, Sign, SignError};
use bartizan_attestation::csr;
use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_attestation::keys::{Chain, EnclaveChains, Purpose, VaultRefusal, VaultReply};
use bartizan_attestation::measurement::Digest;

use super::{Operation, Outcome, chain, leaf, store};
use crate::backend::Encoding;
use crate::boot::{AfterCard, AfterEnclave, AfterHypervisor, Reached};
use crate::issue::{Certificate, IssuerKey, refused};
use crate::keyring::Record;
use crate::lifetime::lifetime;

impl Operation<'_> {
    /// Makes the card identity key. One that still waits for its certificate, from an enrolment that failed, is replaced.
    pub(super) fn create_card_identity(&self, _open: Reached<AfterCard>) -> Outcome {
        let purpose = Purpose::CardIdentity;
        self.demand(purpose)?;
        // Locked to the end: of two at once, one is asked for and certified.
        let mut keyring = self.write();
        if keyring.identity().is_some() {
            return Err(VaultRefusal::Exists { purpose });
        }
        let key = self.backend.generate(purpose).map_err(store)?;
        let record = Record {
            purpose,
            id: key.public.sha256().into(),
            public: key.public.spki_der().into(),
            blob: key.blob.into(),
            chain: Vec::new(),
            not_after: u64::MAX,
        };
        let request = request(&self.issuer(&record)?)?;
        keyring.add(record, self.now).map_err(store)?;
        Ok(VaultReply::Csr(request))
    }

    pub(super) fn rotate_tls_client(&self, _open: Reached<AfterCard>, lifetime_s: u64) -> Outcome {
        self.demand(Purpose::TlsClient)?;
        let lifetime_s = lifetime(Usage::TlsClient, lifetime_s)?;
        let made = self.make(Purpose::TlsClient, |this, key| {
            let host = this.card()?;
            this.issued_by_card(Usage::TlsClient, Subject::Host(host), None, lifetime_s, key)
        });
        made.map(VaultReply::Certificates)
    }

    pub(super) fn certify_report_key(
        &self,
        _open: Reached<AfterHypervisor>,
        csr: &[u8],
        guest: GuestIdentity,
        launch_measurement: Digest,
        lifetime_s: u64,
    ) -> Outcome {
        let key = csr::verify(csr).map_err(refused)?;
        self.check_guest(&guest)?;
        let subject = Subject::Measurer(guest);
        let launch = Some(launch_measurement);
        let lifetime_s = lifetime(Usage::ReportKey, lifetime_s)?;
        let chain =
            self.certified_and_noted(Usage::ReportKey, subject, launch, lifetime_s, &key)?;
        Ok(VaultReply::Certificates(chain))
    }

    pub(super) fn certify_guest_key(
        &self,
        _open: Reached<AfterHypervisor>,
        csr: &[u8],
        guest: GuestIdentity,
        launch_measurement: Digest,
        lifetime_s: u64,
    ) -> Outcome {
        let key = csr::verify(csr).map_err(refused)?;
        self.check_guest(&guest)?;
        let subject = Subject::Guest(guest);
        let launch = Some(launch_measurement);
        let lifetime_s = lifetime(Usage::GuestKey, lifetime_s)?;
        let chain = self.certified_and_noted(Usage::GuestKey, subject, launch, lifetime_s, &key)?;
        Ok(VaultReply::Certificates(chain))
    }

    /// Only after the last phase: an enclave that was not measured has no certificate, and nobody then takes its word for anything.
    pub(super) fn certify_enclave(
        &self,
        _open: Reached<AfterEnclave>,
        tls: &[u8],
        evidence: &[u8],
        lifetime_s: u64,
    ) -> Outcome {
        let tls = csr::verify(tls).map_err(refused)?;
        let evidence = csr::verify(evidence).map_err(refused)?;
        // What a handshake has signed can then never be taken for evidence, nor the other way round.
        if tls == evidence {
            return Err(VaultRefusal::NotSignable(
                "an enclave's TLS key and its evidence key are one key".into(),
            ));
        }
        let subject = Subject::Enclave(self.card()?);
        let certified = |usage, key| {
            let lifetime_s = lifetime(usage, lifetime_s)?;
            self.certified_and_noted(usage, subject.clone(), None, lifetime_s, key)
        };
        Ok(VaultReply::Enclave(EnclaveChains {
            tls: certified(Usage::EnclaveTls, &tls)?,
            evidence: certified(Usage::Evidence, &evidence)?,
        }))
    }

    pub(super) fn certify_hypervisor(
        &self,
        _open: Reached<AfterHypervisor>,
        csr: &[u8],
        lifetime_s: u64,
    ) -> Outcome {
        let key = csr::verify(csr).map_err(refused)?;
        let (usage, subject) = (Usage::Hypervisor, Subject::Hypervisor(self.card()?));
        let lifetime_s = lifetime(usage, lifetime_s)?;
        let chain = self.certified_and_noted(usage, subject, None, lifetime_s, &key)?;
        Ok(VaultReply::Certificates(chain))
    }

    /// A card speaks for its own guests only.
    fn check_guest(&self, guest: &GuestIdentity) -> Result<(), VaultRefusal> {
        if guest.boot == 0 {
            return Err(VaultRefusal::NotSignable("boots count from 1".into()));
        }
        if guest.card == self.card()? {
            return Ok(());
        }
        Err(VaultRefusal::NotSignable(
            "that guest is of another card".into(),
        ))
    }

    pub(super) fn card(&self) -> Result<CardId, VaultRefusal> {
        card_of(&self.identity()?)
    }

    /// Somebody else's key: what was certified is in the history before it is handed out.
    fn certified_and_noted(
        &self,
        usage: Usage,
        subject: Subject,
        launch_measurement: Option<Digest>,
        lifetime_s: u64,
        key: &PublicKey,
    ) -> Result<Chain, VaultRefusal> {
        let issued = self.issued_by_card(usage, subject, launch_measurement, lifetime_s, key);
        let (chain, end) = issued?;
        let certificate = chain.first().map_or(&[][..], |leaf| leaf.as_slice());
        self.note_certified(usage.into(), key, certificate, end)?;
        Ok(chain)
    }

    fn issued_by_card(
        &self,
        usage: Usage,
        subject: Subject,
        launch_measurement: Option<Digest>,
        lifetime_s: u64,
        key: &PublicKey,
    ) -> Result<(Chain, u64), VaultRefusal> {
        let purpose = Purpose::CardIdentity;
        let card = self.identity()?;
        let certificate = leaf(&card).ok_or(VaultRefusal::NoKey { purpose })?;
        let common_name = match usage {
            Usage::ReportKey => "measurer",
            Usage::GuestKey => "guest",
            Usage::EnclaveTls | Usage::Evidence => "enclave",
            Usage::Hypervisor => "hypervisor",
            _ => "host",
        };
        let wanted = Certificate {
            usage,
            subject,
            common_name: common_name.into(),
            names: Vec::new(),
            vault: self.backend.kind(),
            launch_measurement,
            phases: self.boot.phases(),
            now: self.now,
            lifetime_s,
        };
        let (leaf, end) = wanted.issue(key, certificate, self.issuer(&card)?)?;
        Ok((chain([leaf, certificate.to_vec()]), end))
    }
}

/// Whose identity key it is, as its certificate says.
pub(super) fn card_of(identity: &Record) -> Result<CardId, VaultRefusal> {
    let purpose = Purpose::CardIdentity;
    let certificate = leaf(identity).ok_or(VaultRefusal::NoKey { purpose })?;
    let subject = Subject::in_certificate(certificate, Usage::Card).map_err(store)?;
    subject.card().ok_or(VaultRefusal::NoKey { purpose })
}

/// The card identity key, for one message.
pub(super) struct IdentitySigner<'s> {
    pub(super) operation: &'s Operation<'s>,
    pub(super) key: &'s Record,
}

impl Sign for IdentitySigner<'_> {
    fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, SignError> {
        let key = self.key.stored();
        let backend = self.operation.backend;
        let signed = backend.sign(self.key.purpose, &key, to_be_signed, Encoding::Fixed);
        signed.map_err(|error| {
            tracing::error!(%error, "the card identity key did not sign");
            self.operation.failed.get_or_init(|| store(error));
            SignError::Key
        })
    }
}

/// A PKCS#10 request of a key, DER: who it is for is its key.
pub(super) fn request(key: &IssuerKey<'_>) -> Result<Vec<u8>, VaultRefusal> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = params.serialize_request(key).map_err(refused)?;
    Ok(request.der().to_vec())
}
