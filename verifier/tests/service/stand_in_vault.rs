//! A stand-in for the verifier's vault: the same messages over the same socket, keys in memory.
//!
//! The real one is tried by the end-to-end tests; this one lets these tests run by themselves, make
//! certificates that no vault would issue, and fail on demand.

use std::collections::HashMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use bartizan_attestation::certificates::{Lineage, Usage};
use bartizan_attestation::cose::{Curve, PublicKey};
use bartizan_attestation::csr::{self, EphemeralKey};
use bartizan_attestation::keys::{
    KeyDescription, KeyEvent, KeyEventKind, KeyKind, Purpose, VaultKind, VaultRefusal, VaultReply,
    VaultRequest,
};
use bartizan_attestation::result::{check_claims_json, compact, signing_input};
use bartizan_attestation::rotation::RotationRefusal;
use bartizan_attestation::succession;
use bartizan_local::{read_frame, write_frame};
use bartizan_verifier::clock::now_s;
use minicbor::bytes::ByteVec;

use crate::fleet::{Authority, Wish};

/// The vault: serves until the process ends.
pub(crate) struct StandInVault {
    pub(crate) socket: PathBuf,
    pub(crate) fleet: Arc<Authority>,
    refuses: Arc<AtomicBool>,
    shows_fleet: Arc<AtomicBool>,
    loses_answers: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
    /// Where it signs results.
    pub(crate) results: Arc<Gate>,
    /// Where it makes keys and certificates for hosts.
    pub(crate) making: Arc<Gate>,
    replaced: Arc<OnceLock<Replaced>>,
    /// How many TLS keys it has made.
    made_servers: Arc<AtomicUsize>,
    /// How often it has made another sealing key.
    sealed_anew: Arc<AtomicUsize>,
}

/// Whether what comes to it goes on now, or waits.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    held: bool,
    count: usize,
}

struct Keys {
    fleet: Arc<Authority>,
    made_servers: Arc<AtomicUsize>,
    sealed_anew: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
    /// Whether the fleet CA was made, as far as anybody was told.
    shows_fleet: Arc<AtomicBool>,
    tokens: Mutex<Vec<(EcdsaKeyPair, Vec<u8>)>>,
    servers: Mutex<HashMap<Vec<u8>, EphemeralKey>>,
    loses_answers: Arc<AtomicBool>,
    full: Arc<AtomicBool>,
    results: Arc<Gate>,
    making: Arc<Gate>,
    replaced: Arc<OnceLock<Replaced>>,
}

/// The CA that the first one was replaced by.
struct Replaced {
    fleet: Authority,
    lineage: Lineage,
}

impl StandInVault {
    pub(crate) fn start(directory: &Path, fleet: Authority) -> Self {
        let socket = directory.join("vault.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (fleet, refuses) = (Arc::new(fleet), Arc::new(AtomicBool::new(false)));
        let shows_fleet = Arc::new(AtomicBool::new(true));
        let loses_answers = Arc::new(AtomicBool::new(false));
        let full = Arc::new(AtomicBool::new(false));
        let (results, making) = (Arc::<Gate>::default(), Arc::<Gate>::default());
        let replaced = Arc::<OnceLock<_>>::default();
        let made_servers = Arc::<AtomicUsize>::default();
        let sealed_anew = Arc::<AtomicUsize>::default();
        let keys = Arc::new(Keys {
            replaced: Arc::clone(&replaced),
            made_servers: Arc::clone(&made_servers),
            sealed_anew: Arc::clone(&sealed_anew),
            fleet: Arc::clone(&fleet),
            shows_fleet: Arc::clone(&shows_fleet),
            refuses: Arc::clone(&refuses),
            tokens: Mutex::default(),
            servers: Mutex::default(),
            loses_answers: Arc::clone(&loses_answers),
            full: Arc::clone(&full),
            results: Arc::clone(&results),
            making: Arc::clone(&making),
        });
        std::thread::spawn(move || {
            for link in listener.incoming() {
                let (link, keys) = (link.unwrap(), Arc::clone(&keys));
                std::thread::spawn(move || keys.serve(link));
            }
        });
        Self {
            socket,
            fleet,
            refuses,
            shows_fleet,
            loses_answers,
            full,
            results,
            making,
            replaced,
            made_servers,
            sealed_anew,
        }
    }

    /// From now on another CA certifies, which nobody is told of who does not ask.
    pub(crate) fn replace_fleet(&self, fleet: Authority) {
        let lineage = self.fleet.replaced_by(&fleet);
        let first = self.replaced.set(Replaced { fleet, lineage });
        assert!(first.is_ok(), "replaced twice");
    }

    /// The same, and nothing leads there.
    pub(crate) fn replace_fleet_unlinked(&self, fleet: Authority) {
        let lineage = Lineage::of(fleet.der.clone());
        let first = self.replaced.set(Replaced { fleet, lineage });
        assert!(first.is_ok(), "replaced twice");
    }

    /// How many TLS keys it has made.
    pub(crate) fn made_servers(&self) -> usize {
        self.made_servers.load(Ordering::SeqCst)
    }

    /// How often it has made another sealing key.
    pub(crate) fn sealed_anew(&self) -> usize {
        self.sealed_anew.load(Ordering::SeqCst)
    }

    /// From now on there is no fleet CA, until one is made.
    pub(crate) fn hide_fleet(&self) {
        self.shows_fleet.store(false, Ordering::SeqCst);
    }

    /// From now on the answer to whoever has something made is lost with its link, or no longer.
    pub(crate) fn lose_answers(&self, loses: bool) {
        self.loses_answers.store(loses, Ordering::SeqCst);
    }

    /// From now on as many token keys are valid as there may be, or no longer.
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// From now on every question is refused, or no longer.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }
}

impl Gate {
    /// From now on all wait, or go on.
    pub(crate) fn hold(&self, held: bool) {
        self.state.lock().unwrap().held = held;
        self.changed.notify_all();
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().unwrap().count
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.count += 1;
        let mut state = (self.changed)
            .wait_while(state, |state| state.held)
            .unwrap();
        state.count -= 1;
    }
}

impl Keys {
    fn serve(&self, mut link: UnixStream) {
        while let Ok(request) = read_frame(&mut link, VaultRequest::MAX_FRAME) {
            let makes = matches!(
                request,
                VaultRequest::RotateToken { .. }
                    | VaultRequest::IssueHost { .. }
                    | VaultRequest::IssueSuccessor { .. }
                    | VaultRequest::RotateFleetCa { .. }
                    | VaultRequest::RotateSealing
            );
            let reply = if self.refuses.load(Ordering::SeqCst) {
                VaultReply::Refused(VaultRefusal::Store("told to refuse".into()))
            } else {
                self.answer(request)
            };
            if makes && self.loses_answers.load(Ordering::SeqCst) {
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
                fleet_ca: (self.shows_fleet.load(Ordering::SeqCst))
                    .then(|| self.fleet.der.clone().into()),
            },
            VaultRequest::DescribeFleetCas => {
                let shows = self.shows_fleet.load(Ordering::SeqCst);
                VaultReply::FleetCas(shows.then(|| self.lineage()))
            }
            VaultRequest::CreateFleetCa { .. } => {
                assert!(!self.shows_fleet.swap(true, Ordering::SeqCst), "made twice");
                certificates(self.fleet.der.clone())
            }
            VaultRequest::IssueHost { csr, .. } => match csr::verify(&csr) {
                Ok(key) => {
                    self.making.pass();
                    let uri = format!("urn:bartizan:host:{}", hex::encode(key.sha256()));
                    certificates(self.present().issue(&Wish::new(Usage::Card, uri), &key))
                }
                Err(error) => VaultReply::Refused(VaultRefusal::NotSignable(error.to_string())),
            },
            VaultRequest::IssueSuccessor { succession } => {
                let known = self.present().ca().with_lineage(&self.lineage()).unwrap();
                match succession::verify(&succession, &known, now_s()) {
                    Ok(succession) => {
                        self.making.pass();
                        let uri = format!("urn:bartizan:host:{}", succession.card);
                        let wish = Wish::new(Usage::Card, uri);
                        certificates(self.present().issue(&wish, &succession.next))
                    }
                    Err(error) => VaultReply::Refused(VaultRefusal::NotSignable(error.to_string())),
                }
            }
            VaultRequest::IssueOperator { csr, name } => {
                let wish = Wish::new(
                    Usage::Operator,
                    format!("urn:bartizan:operator:{name}:administrator"),
                );
                certificates(self.present().issue(&wish, &csr::verify(&csr).unwrap()))
            }
            VaultRequest::RotateTlsServer { names, lifetime_s } => {
                self.made_servers.fetch_add(1, Ordering::SeqCst);
                let key = EphemeralKey::generate().unwrap();
                let mut wish = Wish::new(Usage::TlsServer, None);
                wish.names = &names;
                wish.not_after = now_s() + lifetime_s;
                let leaf = self.present().issue(&wish, &key.public_key());
                self.servers.lock().unwrap().insert(leaf.clone(), key);
                certificates(leaf)
            }
            VaultRequest::RotateToken { .. } if self.full.load(Ordering::SeqCst) => {
                let (purpose, keys) = (Purpose::Token, 32);
                VaultReply::Refused(VaultRefusal::Overlap { purpose, keys })
            }
            VaultRequest::RotateToken { lifetime_s } => {
                self.making.pass();
                self.rotate_token(lifetime_s)
            }
            VaultRequest::SignToken {
                claims,
                certificate,
            } => {
                check_claims_json(&claims).unwrap();
                self.results.pass();
                let tokens = self.tokens.lock().unwrap();
                let named = tokens.iter().find(|(_, leaf)| *leaf == certificate);
                let Some((key, _)) = named else {
                    let purpose = Purpose::Token;
                    return VaultReply::Refused(VaultRefusal::NoKey { purpose });
                };
                let input = signing_input(&certificate, &claims);
                let signature = key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
                VaultReply::Token(compact(&input, signature.as_ref()))
            }
            VaultRequest::SignTls {
                certificate,
                message,
                ..
            } => {
                let servers = self.servers.lock().unwrap();
                VaultReply::Signature(servers[&certificate].sign_der(&message).unwrap())
            }
            // Every order is one to replace the first CA.
            VaultRequest::RotateFleetCa { .. } => {
                let fleet = Authority::fleet();
                let lineage = self.fleet.replaced_by(&fleet);
                match self.replaced.set(Replaced { fleet, lineage }) {
                    Ok(()) => VaultReply::FleetCas(Some(self.lineage())),
                    Err(_) => {
                        let (named, present) = ("the first".into(), "another".into());
                        let refusal = RotationRefusal::OtherCa { named, present };
                        VaultReply::Refused(VaultRefusal::Rotation(refusal))
                    }
                }
            }
            VaultRequest::RotateSealing => {
                self.sealed_anew.fetch_add(1, Ordering::SeqCst);
                VaultReply::Done
            }
            VaultRequest::Revoke { purpose, id } => self.revoke(purpose, &id),
            VaultRequest::History => VaultReply::History((0..3).map(event).collect()),
            other => panic!("the verifier asked its vault for {other:?}"),
        }
    }

    fn lineage(&self) -> Lineage {
        match self.replaced.get() {
            Some(replaced) => replaced.lineage.clone(),
            None => Lineage::of(self.fleet.der.clone()),
        }
    }

    fn present(&self) -> &Authority {
        (self.replaced.get()).map_or(&self.fleet, |replaced| &replaced.fleet)
    }

    fn rotate_token(&self, lifetime_s: u64) -> VaultReply {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
        let public = PublicKey::from_point(Curve::P256, key.public_key().as_ref()).unwrap();
        let mut wish = Wish::new(Usage::Token, "urn:bartizan:token".to_owned());
        let mut tokens = self.tokens.lock().unwrap();
        // Keys made within one second are still told apart by their age.
        wish.not_before += tokens.len() as u64;
        wish.not_after = now_s() + lifetime_s;
        let leaf = self.present().issue(&wish, &public);
        tokens.push((key, leaf.clone()));
        certificates(leaf)
    }

    fn revoke(&self, purpose: Purpose, id: &[u8; 32]) -> VaultReply {
        let token = |(key, _): &(EcdsaKeyPair, Vec<u8>)| {
            let point = key.public_key().as_ref();
            PublicKey::from_point(Curve::P256, point).unwrap().sha256() == *id
        };
        let revoked = match purpose {
            Purpose::Token => (self.tokens.lock().unwrap())
                .extract_if(.., |key| token(key))
                .count(),
            _ => (self.servers.lock().unwrap())
                .extract_if(|_, key| key.public_key().sha256() == *id)
                .count(),
        };
        if revoked == 0 {
            return VaultReply::Refused(VaultRefusal::NoKey { purpose });
        }
        VaultReply::Done
    }

    fn describe(&self) -> Vec<KeyDescription> {
        let describe = |(key, leaf): &(EcdsaKeyPair, Vec<u8>)| {
            let point = key.public_key().as_ref();
            KeyDescription {
                purpose: Purpose::Token,
                id: PublicKey::from_point(Curve::P256, point)
                    .unwrap()
                    .sha256()
                    .into(),
                chain: vec![leaf.clone().into()],
            }
        };
        let server = |(leaf, key): (&Vec<u8>, &EphemeralKey)| KeyDescription {
            purpose: Purpose::TlsServer,
            id: key.public_key().sha256().into(),
            chain: vec![leaf.clone().into()],
        };
        let (tokens, servers) = (self.tokens.lock().unwrap(), self.servers.lock().unwrap());
        let servers = servers.iter().map(server);
        tokens.iter().map(describe).chain(servers).collect()
    }
}

fn event(number: u64) -> KeyEvent {
    KeyEvent {
        number,
        at_s: 1000 + number,
        kind: KeyKind::Token,
        id: [7; 32].into(),
        what: match number {
            0 => KeyEventKind::Made,
            1 => KeyEventKind::Certified {
                certificate: [8; 32].into(),
                not_after: 9,
            },
            _ => KeyEventKind::Destroyed,
        },
    }
}

fn certificates(leaf: Vec<u8>) -> VaultReply {
    VaultReply::Certificates(vec![ByteVec::from(leaf)])
}
