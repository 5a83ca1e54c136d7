//! A stand-in for the host's vault: the same messages over the same socket, keys in memory.

use std::collections::HashMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use bartizan_attestation::boot::{Phase, RegisterValues, Sha384};
use bartizan_attestation::certificates::{Lineage, Usage};
use bartizan_attestation::csr::{self, EphemeralKey};
use bartizan_attestation::keys::{
    BegunSuccession, BootDescription, Chain, EnclaveChains, EnclaveState, KeyDescription, KeyEvent,
    KeyEventKind, KeyKind, NextKey, Purpose, StateKey, StateRecord, VaultKind, VaultRefusal,
    VaultReply, VaultRequest,
};
use bartizan_attestation::succession::Successor;
use bartizan_local::{read_frame, write_frame};

use crate::fleet::Authority;

/// The vault of an enrolled host; serves until the process ends.
pub(crate) struct StandInVault {
    pub(crate) socket: PathBuf,
    /// The chains that the card had installed.
    pub(crate) installed: mpsc::Receiver<Chain>,
    /// The fleet CAs that the card had it follow.
    pub(crate) rolled: mpsc::Receiver<Lineage>,
    signing: Arc<Mutex<Signing>>,
    enrolled: Arc<AtomicBool>,
    rolls: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    measured: Arc<AtomicBool>,
    /// The enclave's newest state that it has recorded.
    pub(crate) state: Arc<Mutex<Option<StateRecord>>>,
    clients: Clients,
}

/// What it does with TLS handshakes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signing {
    Signs,
    Refuses,
    /// It is there, and the device that has the key is not.
    DeviceAway,
    /// It ends when it was asked.
    Ends,
}

/// The TLS client keys, by their certificates.
type Clients = Arc<Mutex<HashMap<Vec<u8>, EphemeralKey>>>;

struct Keys {
    card: Mutex<Authority>,
    /// The key that waits for its certificate.
    next: Mutex<Option<EphemeralKey>>,
    fleet_ca: Vec<u8>,
    clients: Clients,
    signing: Arc<Mutex<Signing>>,
    enrolled: Arc<AtomicBool>,
    rolls: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    measured: Arc<AtomicBool>,
    /// The enclave's newest.
    state: Arc<Mutex<Option<StateRecord>>>,
    installed: mpsc::Sender<Chain>,
    rolled: mpsc::Sender<Lineage>,
}

impl StandInVault {
    pub(crate) fn start(directory: &Path, card: Authority, fleet_ca: Vec<u8>) -> Self {
        Self::start_with(directory, card, None, fleet_ca)
    }

    /// The same, where a key was begun as the next one.
    pub(crate) fn start_with(
        directory: &Path,
        card: Authority,
        next: Option<EphemeralKey>,
        fleet_ca: Vec<u8>,
    ) -> Self {
        let socket = directory.join("vault.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let signing = Arc::new(Mutex::new(Signing::Signs));
        let enrolled = Arc::new(AtomicBool::new(true));
        let rolls = Arc::new(AtomicBool::new(true));
        let silent = Arc::new(AtomicBool::new(false));
        let measured = Arc::new(AtomicBool::new(false));
        let state = Arc::default();
        let (sender, installed) = mpsc::channel();
        let (followed, rolled) = mpsc::channel();
        let clients = Clients::default();
        let keys = Arc::new(Keys {
            card: Mutex::new(card),
            next: Mutex::new(next),
            fleet_ca,
            clients: Arc::clone(&clients),
            signing: Arc::clone(&signing),
            enrolled: Arc::clone(&enrolled),
            rolls: Arc::clone(&rolls),
            silent: Arc::clone(&silent),
            measured: Arc::clone(&measured),
            state: Arc::clone(&state),
            installed: sender,
            rolled: followed,
        });
        std::thread::spawn(move || {
            for link in listener.incoming() {
                let (link, keys) = (link.unwrap(), Arc::clone(&keys));
                std::thread::spawn(move || keys.serve(link));
            }
        });
        Self {
            socket,
            installed,
            rolled,
            signing,
            enrolled,
            rolls,
            silent,
            measured,
            state,
            clients,
        }
    }

    /// From now on it installs what it is told to and does not say so, or says so again.
    pub(crate) fn be_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// How many TLS client keys were made.
    pub(crate) fn made(&self) -> usize {
        self.clients.lock().unwrap().len()
    }

    /// From now on it has its identity, or does not have it yet.
    pub(crate) fn enrol(&self, enrolled: bool) {
        self.enrolled.store(enrolled, Ordering::SeqCst);
    }

    /// From now on fleet CAs are followed, or no longer.
    pub(crate) fn roll(&self, rolls: bool) {
        self.rolls.store(rolls, Ordering::SeqCst);
    }

    /// From now on the boot was measured.
    pub(crate) fn measure(&self) {
        self.measured.store(true, Ordering::SeqCst);
    }

    /// From now on this becomes of TLS handshakes.
    pub(crate) fn sign(&self, signing: Signing) {
        *self.signing.lock().unwrap() = signing;
    }
}

fn shut() -> VaultRefusal {
    VaultRefusal::Shut {
        phase: Phase::Enclave,
        stopped: None,
    }
}

impl Keys {
    fn serve(&self, mut link: UnixStream) {
        while let Ok(request) = read_frame(&mut link, VaultRequest::MAX_FRAME) {
            let ends = *self.signing.lock().unwrap() == Signing::Ends;
            if ends && matches!(request, VaultRequest::SignTls { .. }) {
                return;
            }
            let installs = matches!(request, VaultRequest::InstallCardIdentity { .. });
            let reply = self.answer(request);
            if installs && self.silent.load(Ordering::SeqCst) {
                return;
            }
            write_frame(&mut link, &reply, VaultRequest::MAX_FRAME).unwrap();
        }
    }

    fn answer(&self, request: VaultRequest) -> VaultReply {
        match request {
            VaultRequest::Describe => VaultReply::Description {
                kind: VaultKind::Software,
                keys: self.describe(),
                fleet_ca: Some(self.fleet_ca.clone().into()),
            },
            VaultRequest::DescribeFleetCas => {
                VaultReply::FleetCas(Some(Lineage::of(self.fleet_ca.clone())))
            }
            VaultRequest::CreateCardIdentity => {
                VaultReply::Csr(self.card.lock().unwrap().key.csr().unwrap())
            }
            VaultRequest::RollFleetCa { .. } if !self.rolls.load(Ordering::SeqCst) => {
                VaultReply::Refused(VaultRefusal::Store("told to refuse".into()))
            }
            VaultRequest::RollFleetCa { lineage } => {
                let _told = self.rolled.send(lineage);
                VaultReply::Done
            }
            VaultRequest::History => VaultReply::History(vec![KeyEvent {
                number: 0,
                at_s: 1,
                kind: KeyKind::Card,
                id: self.card.lock().unwrap().key.public_key().sha256().into(),
                what: KeyEventKind::Made,
            }]),
            VaultRequest::DescribeBoot => VaultReply::Boot(self.boot()),
            VaultRequest::Quote { .. } => VaultReply::Quote(None),
            VaultRequest::BeginSuccession { next } => self.begin(next),
            VaultRequest::InstallCardIdentity { chain, .. } => {
                let (mut card, der) = (self.card.lock().unwrap(), chain[0].to_vec());
                match self.next.lock().unwrap().take() {
                    Some(next) => *card = card.succeeded(next, der),
                    None => card.der = der,
                }
                // Nobody may be waiting any more.
                let _told = self.installed.send(chain.clone());
                VaultReply::Certificates(chain)
            }
            VaultRequest::RotateTlsClient { .. } => {
                let key = EphemeralKey::generate().unwrap();
                let card = self.card.lock().unwrap();
                let leaf = card.certify_client(&key.public_key());
                self.clients.lock().unwrap().insert(leaf.clone(), key);
                VaultReply::Certificates(vec![leaf.into(), card.der.clone().into()])
            }
            VaultRequest::SignTls {
                certificate,
                message,
                ..
            } => {
                let refusal = match *self.signing.lock().unwrap() {
                    Signing::Refuses => VaultRefusal::Store("told to refuse".into()),
                    Signing::DeviceAway => VaultRefusal::DeviceAway("no TPM".into()),
                    Signing::Signs | Signing::Ends => {
                        let clients = self.clients.lock().unwrap();
                        let signature = clients[&certificate].sign_der(&message).unwrap();
                        return VaultReply::Signature(signature);
                    }
                };
                VaultReply::Refused(refusal)
            }
            VaultRequest::CertifyEnclave { tls, evidence, .. } => {
                self.certify_enclave(&tls, &evidence)
            }
            VaultRequest::EnclaveState => VaultReply::EnclaveState(EnclaveState {
                key: StateKey::new([9; 32]),
                record: *self.state.lock().unwrap(),
            }),
            VaultRequest::RecordEnclaveState(record) => {
                *self.state.lock().unwrap() = Some(record);
                VaultReply::Done
            }
            VaultRequest::ResetEnclaveState if !self.measured.load(Ordering::SeqCst) => {
                VaultReply::Refused(shut())
            }
            VaultRequest::ResetEnclaveState => {
                *self.state.lock().unwrap() = None;
                VaultReply::Done
            }
            VaultRequest::StateCounter { .. } => VaultReply::Statement(b"a statement".to_vec()),
            VaultRequest::TakeMark { counter: 1, mark } if mark == [7; 32] => VaultReply::Done,
            other => panic!("the card asked its vault for {other:?}"),
        }
    }

    /// Once the boot was measured, as a vault does.
    fn certify_enclave(&self, tls: &[u8], evidence: &[u8]) -> VaultReply {
        if !self.measured.load(Ordering::SeqCst) {
            return VaultReply::Refused(shut());
        }
        let card = self.card.lock().unwrap();
        let chain = |usage, csr: &[u8]| {
            let key = csr::verify(csr).unwrap();
            let leaf = card.certify_enclave(usage, &key);
            vec![leaf.into(), card.der.clone().into()]
        };
        VaultReply::Enclave(EnclaveChains {
            tls: chain(Usage::EnclaveTls, tls),
            evidence: chain(Usage::Evidence, evidence),
        })
    }

    fn describe(&self) -> Vec<KeyDescription> {
        if !self.enrolled.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let (card, next) = (self.card.lock().unwrap(), self.next.lock().unwrap());
        let identity = |key: &EphemeralKey, chain| KeyDescription {
            purpose: Purpose::CardIdentity,
            id: key.public_key().sha256().into(),
            chain,
        };
        let in_use = identity(&card.key, vec![card.der.clone().into()]);
        let waits = next.as_ref().map(|next| identity(next, Vec::new()));
        [in_use].into_iter().chain(waits).collect()
    }

    /// Of four phases; nobody looks at its log.
    fn boot(&self) -> BootDescription {
        BootDescription {
            measured: self.measured.load(Ordering::SeqCst),
            log: b"a log".to_vec().into(),
            registers: RegisterValues::ZERO,
            phases: vec![Sha384::ZERO; 4],
            stopped: None,
            firmware: None,
        }
    }

    fn begin(&self, wish: NextKey) -> VaultReply {
        let (card, mut next) = (self.card.lock().unwrap(), self.next.lock().unwrap());
        if wish == NextKey::New && next.is_none() {
            *next = Some(EphemeralKey::generate().unwrap());
        }
        let csr = next.as_ref().unwrap_or(&card.key).csr().unwrap();
        let signed = Successor::new(csr).sign(std::slice::from_ref(&card.der), &card.key);
        VaultReply::Succession(BegunSuccession {
            signed: signed.unwrap().into(),
            certified: None,
        })
    }
}
