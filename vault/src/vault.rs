//! The vault's rules: which role may ask for what, and what each operation makes.

mod card;
mod counter;
mod enclave_state;
mod fleet_cas;
mod operators;
mod sealing;
mod succession;
mod tpm;
mod verifier;

use std::error::Error;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bartizan_attestation::boot::{VaultAnswer, VaultStep};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::{
    Chain, KeyDescription, KeyKind, Purpose, VaultRefusal, VaultReply, VaultRequest,
};
use minicbor::bytes::ByteVec;

use crate::backend::{Backend, BackendError, DeviceError, Encoding, NewKey, StoredKey};
use crate::boot::{AfterCard, Boot, Reached};
use crate::config::{MeasuredBoot, NamedOperator, Role};
use crate::handshake::is_certificate_verify;
use crate::issue::IssuerKey;
use crate::keyring::{Keyring, KeyringError, MAX_OVERLAP, Record};

/// A vault: keys, a back end that uses them, and the role that says for what.
pub struct Vault {
    role: Role,
    operators: Vec<NamedOperator>,
    backend: Arc<dyn Backend>,
    keyring: RwLock<Keyring>,
    boot: Boot,
    /// Held by each request; alone by those that take a key away which others may be about to use.
    under_way: RwLock<()>,
    /// Held while the card identity's next key is begun.
    succeeding: Mutex<()>,
}

/// The result of one operation.
type Outcome = Result<VaultReply, VaultRefusal>;

impl Vault {
    /// A vault with this role.
    pub fn new(role: Role, backend: Arc<dyn Backend>, keyring: Keyring) -> Self {
        let boot = Boot::new(None, keyring.release_key().is_some());
        Self {
            role,
            operators: Vec::new(),
            backend,
            keyring: RwLock::new(keyring),
            boot,
            under_way: RwLock::default(),
            succeeding: Mutex::default(),
        }
    }

    /// The same, its keys shut until this host's boot has been measured.
    #[must_use]
    pub fn with_measured_boot(self, demanded: Option<MeasuredBoot>) -> Self {
        let measured_before = self.read_keyring().release_key().is_some();
        Self {
            boot: Boot::new(demanded, measured_before),
            ..self
        }
    }

    fn read_keyring(&self) -> RwLockReadGuard<'_, Keyring> {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a step of the boot, from the launcher.
    pub fn take(&self, step: VaultStep) -> VaultAnswer {
        self.boot.take(step, &*self.backend, &self.keyring)
    }

    /// The same, certifying these operators beside the fleet's first.
    #[must_use]
    pub fn with_operators(self, operators: Vec<NamedOperator>) -> Self {
        Self { operators, ..self }
    }

    /// Answers a request; `now` in seconds since the Unix epoch.
    pub fn answer(&self, request: VaultRequest, now: u64) -> VaultReply {
        let operation = Operation {
            role: self.role,
            operators: &self.operators,
            backend: &*self.backend,
            keyring: &self.keyring,
            succeeding: &self.succeeding,
            boot: &self.boot,
            now,
            failed: OnceLock::new(),
        };
        self.rotate_sealing_if_due(&operation, &request);
        // The former identity or sealing key is destroyed: whatever took it up before has used it by then, and what comes after
        // takes the newest.
        let alone = matches!(
            request,
            VaultRequest::InstallCardIdentity { .. } | VaultRequest::RotateSealing
        );
        let done = if alone {
            let _alone = (self.under_way.write()).unwrap_or_else(PoisonError::into_inner);
            operation.perform(request)
        } else {
            let _beside = (self.under_way.read()).unwrap_or_else(PoisonError::into_inner);
            operation.perform(request)
        };
        match done {
            Ok(reply) => reply,
            Err(refusal) => {
                let refusal = operation.failed.into_inner().unwrap_or(refusal);
                tracing::warn!(%refusal, "refused");
                VaultReply::Refused(refusal)
            }
        }
    }
}

/// One operation under way. Signing goes on beside signing: the keyring is locked only while records are looked up or
/// changed.
struct Operation<'a> {
    role: Role,
    operators: &'a [NamedOperator],
    backend: &'a dyn Backend,
    keyring: &'a RwLock<Keyring>,
    succeeding: &'a Mutex<()>,
    boot: &'a Boot,
    now: u64,
    /// Why a key did not sign, if one did not: what was to be signed is not at fault.
    failed: OnceLock<VaultRefusal>,
}

impl Operation<'_> {
    fn perform(&self, request: VaultRequest) -> Outcome {
        match request {
            VaultRequest::Describe => Ok(self.describe()),
            VaultRequest::CreateFleetCa { name } => self.create_fleet_ca(&name),
            VaultRequest::IssueHost { csr, name, vault } => self.issue_host(&csr, &name, vault),
            VaultRequest::IssueOperator { csr, name } => self.issue_operator(&csr, &name),
            VaultRequest::RotateTlsServer { names, lifetime_s } => {
                self.rotate_tls_server(names, lifetime_s)
            }
            VaultRequest::RotateToken { lifetime_s } => self.rotate_token(lifetime_s),
            VaultRequest::SignToken {
                claims,
                certificate,
            } => self.sign_token(&claims, &certificate),
            VaultRequest::SignTls {
                purpose,
                certificate,
                message,
            } => self.sign_tls(self.boot.reached()?, purpose, &certificate, &message),
            VaultRequest::RotateSealing => self.rotate_sealing(self.boot.reached()?),
            VaultRequest::DescribeTpm => self.describe_tpm(self.boot.reached()?),
            VaultRequest::ActivateCredential {
                object,
                credential,
                secret,
            } => self.activate(self.boot.reached()?, object, &credential, &secret),
            VaultRequest::Quote { nonce } => self.quote(self.boot.reached()?, &nonce),
            VaultRequest::History => Ok(VaultReply::History(self.read().history().to_vec())),
            VaultRequest::Revoke { purpose, id } => self.revoke(purpose, &id),
            VaultRequest::DescribeBoot => self.boot.describe(self.backend).map(VaultReply::Boot),
            VaultRequest::CreateCardIdentity => self.create_card_identity(self.boot.reached()?),
            VaultRequest::BeginSuccession { next } => {
                self.begin_succession(self.boot.reached()?, next)
            }
            VaultRequest::IssueSuccessor { succession } => self.issue_successor(&succession),
            VaultRequest::InstallCardIdentity { chain, fleet_ca } => {
                self.install_card_identity(self.boot.reached()?, chain, fleet_ca)
            }
            VaultRequest::RotateTlsClient { lifetime_s } => {
                self.rotate_tls_client(self.boot.reached()?, lifetime_s)
            }
            VaultRequest::StateCounter { machine } => {
                self.state_counter(self.boot.reached()?, machine)
            }
            VaultRequest::TakeMark { counter, mark } => {
                self.take_mark(self.boot.reached()?, counter, mark)
            }
            VaultRequest::RotateFleetCa { order } => self.rotate_fleet_ca(&order),
            VaultRequest::DescribeFleetCas => Ok(VaultReply::FleetCas(self.read().lineage())),
            VaultRequest::RollFleetCa { lineage } => {
                self.roll_fleet_ca(self.boot.reached()?, lineage)
            }
            VaultRequest::CertifyReportKey {
                csr,
                guest,
                launch_measurement,
                lifetime_s,
            } => {
                let open = self.boot.reached()?;
                self.certify_report_key(open, &csr, guest, launch_measurement, lifetime_s)
            }
            VaultRequest::CertifyGuestKey {
                csr,
                guest,
                launch_measurement,
                lifetime_s,
            } => {
                let open = self.boot.reached()?;
                self.certify_guest_key(open, &csr, guest, launch_measurement, lifetime_s)
            }
            VaultRequest::CertifyEnclave {
                tls,
                evidence,
                lifetime_s,
            } => self.certify_enclave(self.boot.reached()?, &tls, &evidence, lifetime_s),
            VaultRequest::CertifyHypervisor { csr, lifetime_s } => {
                self.certify_hypervisor(self.boot.reached()?, &csr, lifetime_s)
            }
            VaultRequest::EnclaveState => self.enclave_state(self.boot.reached()?),
            VaultRequest::RecordEnclaveState(record) => {
                self.record_enclave_state(self.boot.reached()?, record)
            }
            VaultRequest::ResetEnclaveState => self.reset_enclave_state(self.boot.reached()?),
        }
    }

    fn describe(&self) -> VaultReply {
        let keyring = self.read();
        let keys = keyring.records().iter().map(|record| KeyDescription {
            purpose: record.purpose,
            id: record.id,
            chain: record.chain.clone(),
        });
        VaultReply::Description {
            kind: self.backend.kind(),
            keys: keys.collect(),
            fleet_ca: keyring.fleet_ca().map(|der| der.to_vec().into()),
        }
    }

    fn sign_tls(
        &self,
        _open: Reached<AfterCard>,
        purpose: Purpose,
        certificate: &[u8],
        message: &[u8],
    ) -> Outcome {
        self.demand(purpose)?;
        if !is_certificate_verify(purpose, message) {
            let what = "a TLS key signs TLS 1.3 CertificateVerify contents of its own side only";
            return Err(VaultRefusal::NotSignable(what.into()));
        }
        let record = self.certified(purpose, certificate)?;
        self.backend
            .sign(purpose, &record.stored(), message, Encoding::Der)
            .map(VaultReply::Signature)
            .map_err(store)
    }

    /// The key of a certificate that has not expired.
    fn certified(&self, purpose: Purpose, certificate: &[u8]) -> Result<Record, VaultRefusal> {
        let certified =
            |record: &&Record| record.purpose == purpose && leaf(record) == Some(certificate);
        let record = self.read().records().iter().find(certified).cloned();
        let record = record.ok_or(VaultRefusal::NoKey { purpose })?;
        if record.not_after < self.now {
            return Err(VaultRefusal::NotSignable(
                "the certificate has expired".into(),
            ));
        }
        Ok(record)
    }

    /// Makes a key and keeps it with the chain that `certify` issues for it.
    fn make(
        &self,
        purpose: Purpose,
        certify: impl FnOnce(&Self, &PublicKey) -> Result<(Chain, u64), VaultRefusal>,
    ) -> Result<Chain, VaultRefusal> {
        // Before: a key that is not kept would cost a signature of the fleet CA.
        (self.read().check_room(purpose, self.now)).map_err(not_kept)?;
        let key = self.backend.generate(purpose).map_err(store)?;
        let id = key.public.sha256();
        let made = self.certify_and_keep(purpose, &key, certify);
        if made.is_err() {
            self.destroy_unkept(purpose, &id, &key);
        }
        made
    }

    /// Else a token would fill up with keys that no record names.
    fn destroy_unkept(&self, purpose: Purpose, id: &[u8; 32], key: &NewKey) {
        let unkept = StoredKey {
            id,
            blob: &key.blob,
        };
        if let Err(error) = self.backend.destroy(purpose, &unkept) {
            tracing::error!(?purpose, id = hex(id), %error, "a key could not be destroyed");
        }
    }

    fn certify_and_keep(
        &self,
        purpose: Purpose,
        key: &NewKey,
        certify: impl FnOnce(&Self, &PublicKey) -> Result<(Chain, u64), VaultRefusal>,
    ) -> Result<Chain, VaultRefusal> {
        let (chain, not_after) = certify(self, &key.public)?;
        let record = Record {
            purpose,
            id: key.public.sha256().into(),
            public: key.public.spki_der().into(),
            blob: key.blob.clone().into(),
            chain: chain.clone(),
            not_after,
        };
        let added = self.write().add(record, self.now);
        added.map_err(not_kept)?;
        Ok(chain)
    }

    /// Writes down that a key that is not the vault's own was certified.
    fn note_certified(
        &self,
        kind: KeyKind,
        key: &PublicKey,
        certificate: &[u8],
        not_after: u64,
    ) -> Result<(), VaultRefusal> {
        let noted =
            (self.write()).note_certified(kind, key.sha256(), certificate, not_after, self.now);
        noted.map_err(store)
    }

    /// Refuses purposes that this vault's role does not have.
    fn demand(&self, purpose: Purpose) -> Result<(), VaultRefusal> {
        if self.role.holds(purpose) {
            Ok(())
        } else {
            Err(VaultRefusal::WrongRole { purpose })
        }
    }

    /// The newest key of a purpose; it may still wait for its certificate.
    fn newest(&self, purpose: Purpose) -> Result<Record, VaultRefusal> {
        self.demand(purpose)?;
        let newest = self.read().newest(purpose).cloned();
        newest.ok_or(VaultRefusal::NoKey { purpose })
    }

    /// The card identity key that is in use.
    fn identity(&self) -> Result<Record, VaultRefusal> {
        let purpose = Purpose::CardIdentity;
        self.demand(purpose)?;
        let identity = self.read().identity().cloned();
        identity.ok_or(VaultRefusal::NoKey { purpose })
    }

    /// A key of the vault, to issue with.
    fn issuer<'k>(&'k self, record: &'k Record) -> Result<IssuerKey<'k>, VaultRefusal> {
        Ok(IssuerKey {
            backend: self.backend,
            purpose: record.purpose,
            key: record.stored(),
            public: PublicKey::from_spki_der(&record.public).map_err(store)?,
            failed: &self.failed,
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Keyring> {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keyring> {
        self.keyring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leaf(record: &Record) -> Option<&[u8]> {
    record
        .chain
        .first()
        .map(|certificate| certificate.as_slice())
}

fn not_kept(error: KeyringError) -> VaultRefusal {
    match error {
        KeyringError::Overlap { purpose } => {
            let keys = u32::try_from(MAX_OVERLAP).unwrap_or(u32::MAX);
            VaultRefusal::Overlap { purpose, keys }
        }
        other => store(other),
    }
}

pub(crate) fn store(error: impl Error + 'static) -> VaultRefusal {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        // A token that refused the PIN is not asked again.
        let away = match found.downcast_ref() {
            Some(BackendError::Away { source, .. }) => !matches!(source, DeviceError::Pin),
            _ => false,
        };
        if away {
            return VaultRefusal::DeviceAway(error.to_string());
        }
        cause = found.source();
    }
    VaultRefusal::Store(error.to_string())
}

fn chain(certificates: impl IntoIterator<Item = Vec<u8>>) -> Chain {
    certificates.into_iter().map(ByteVec::from).collect()
}

/// The first 8 bytes of a certificate's digest, for logs.
fn short(certificate: &[u8]) -> String {
    hex(sha256(certificate).get(..8).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
