//! A card that runs between stand-ins, and operators who give it orders.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bartizan_attestation::certificates::{Role, Usage, VerifiedCertificate, verify_chain};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::host::{MAX_FRAME, OperationReply, OperationRequest};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::operation::log::{Event, Outcome, Record};
use bartizan_attestation::operation::{Operation, Order, sign_order};
use bartizan_local::{read_frame, write_frame};
use minicbor::Encode;

use super::stand_in_hypervisor::StandInHypervisor;
use crate::fleet::{Authority, fresh, now};
use crate::stand_in_vault::StandInVault;
use crate::stand_in_verifier::StandInVerifier;
use crate::{DEADLINE, configure};

pub(super) struct Running {
    folder: tempfile::TempDir,
    fleet: Arc<Authority>,
    pub(super) host: CardId,
    pub(super) vault: StandInVault,
    pub(super) verifier: Option<StandInVerifier>,
    pub(super) hypervisor: StandInHypervisor,
    configuration: PathBuf,
    card: Child,
    nonces: AtomicU64,
}

pub(super) struct Operator {
    key: EphemeralKey,
    chain: Vec<Vec<u8>>,
}

/// An order that was handed in.
pub(super) struct Pending(UnixStream);

impl Running {
    pub(super) fn start(extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Arc::new(Authority::fleet());
        let card = fleet.card(fresh());
        let host = CardId(card.key.public_key().sha256());
        let vault = StandInVault::start(folder.path(), card, fleet.der.clone());
        let verifier = StandInVerifier::start(Arc::clone(&fleet));
        let hypervisor = StandInHypervisor::start(&folder.path().join("hypervisor.sock"));
        let configuration = configure(folder.path(), &vault.socket, &verifier, extra);
        let card = run(&configuration);
        let scene = Self {
            folder,
            fleet,
            host,
            vault,
            verifier: Some(verifier),
            hypervisor,
            configuration,
            card,
            nonces: AtomicU64::new(0),
        };
        scene.await_socket();
        scene
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn operator(&self, name: &str, role: Role) -> Operator {
        Operator::of(&self.fleet, name, role)
    }

    /// An order with a nonce of its own, for this host and now.
    pub(super) fn order_of(&self, operation: Operation) -> Order {
        let number = self.nonces.fetch_add(1, Ordering::Relaxed);
        Order {
            version: Order::VERSION,
            host: self.host,
            operation,
            nonce: [number.to_be_bytes(), [7; 8]].concat().into(),
            issued_at: now(),
            expires_at: now() + 60,
        }
    }

    /// Signs, hands in, waits.
    pub(super) fn order(&self, operator: &Operator, operation: Operation) -> OperationReply {
        let order = operator.sign(&self.order_of(operation));
        self.hand_in(&order).reply()
    }

    /// The card's certificate that the vault was told to install.
    pub(super) fn installed(&self) -> VerifiedCertificate {
        let installed = self.vault.installed.recv_timeout(DEADLINE).unwrap();
        let installed: Vec<_> = installed.into_iter().map(Vec::from).collect();
        verify_chain(&installed, &self.fleet.ca(), now(), Usage::Card).unwrap()
    }

    /// The word for why it is refused.
    pub(super) fn refusal(&self, operator: &Operator, operation: Operation) -> &'static str {
        self.word(&operator.sign(&self.order_of(operation)))
    }

    pub(super) fn word(&self, signed: &[u8]) -> &'static str {
        match self.hand_in(signed).reply() {
            OperationReply::Refused(refusal) => refusal.word(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn hand_in(&self, signed: &[u8]) -> Pending {
        self.say(&OperationRequest::Perform(signed.to_vec()))
    }

    pub(super) fn say(&self, message: &impl Encode<()>) -> Pending {
        let mut link = UnixStream::connect(self.path("operations.sock")).unwrap();
        link.set_read_timeout(Some(DEADLINE)).unwrap();
        // What is too large is not read to its end.
        let _refused = write_frame(&mut link, message, MAX_FRAME);
        Pending(link)
    }

    /// What the log says, as an observer reads it.
    pub(super) fn events(&self) -> Vec<String> {
        let oscar = self.operator("oscar", Role::Observer);
        let read = Operation::ReadLog {
            from: 0,
            most: 1000,
        };
        match self.order(&oscar, read) {
            OperationReply::Log(page) => {
                let records = page.records.iter();
                records
                    .map(|line| said(Record::parse(line).unwrap().event))
                    .collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn await_event(&self, event: &str) {
        let begun = Instant::now();
        while !self.events().iter().any(|said| said == event) {
            assert!(begun.elapsed() < DEADLINE, "{:?}", self.events());
        }
    }

    fn await_socket(&self) {
        let begun = Instant::now();
        let describe = || {
            let mut link = UnixStream::connect(self.path("operations.sock")).ok()?;
            write_frame(&mut link, &OperationRequest::Describe, MAX_FRAME).ok()?;
            read_frame::<OperationReply>(&mut link, MAX_FRAME).ok()
        };
        while describe() != Some(OperationReply::Host(self.host)) {
            assert!(begun.elapsed() < DEADLINE, "the card does not serve");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    pub(super) fn kill(&mut self) {
        self.card.kill().unwrap();
        self.card.wait().unwrap();
    }

    pub(super) fn start_again(&mut self) {
        self.card = run(&self.configuration);
        self.await_socket();
    }

    /// `bartizan-card log --set-aside`.
    pub(super) fn set_aside(&self) -> bool {
        let ended = Command::new(env!("CARGO_BIN_EXE_bartizan-card"))
            .args(["log", "--set-aside", "--config"])
            .arg(&self.configuration)
            .output();
        ended.unwrap().status.success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.card.kill();
        let _reaped = self.card.wait();
    }
}

impl Operator {
    pub(super) fn of(fleet: &Authority, name: &str, role: Role) -> Self {
        let key = EphemeralKey::generate().unwrap();
        let chain = vec![fleet.certify_operator(&key.public_key(), name, role)];
        Self { key, chain }
    }

    pub(super) fn sign(&self, order: &Order) -> Vec<u8> {
        sign_order(order, &self.chain, &self.key).unwrap()
    }

    pub(super) fn key(&self) -> &EphemeralKey {
        &self.key
    }

    pub(super) fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }
}

impl Pending {
    /// Of an answer in pieces, the next one.
    pub(super) fn next(&mut self) -> OperationReply {
        read_frame(&mut self.0, MAX_FRAME).unwrap()
    }

    pub(super) fn reply(mut self) -> OperationReply {
        read_frame(&mut self.0, MAX_FRAME).unwrap()
    }
}

/// Killed, and started again.
pub(super) fn again(scene: &mut Running) {
    scene.kill();
    scene.start_again();
}

pub(super) fn stop(vm: &str) -> Operation {
    Operation::StopGuest {
        vm: vm.into(),
        force: false,
    }
}

fn run(configuration: &PathBuf) -> Child {
    Command::new(env!("CARGO_BIN_EXE_bartizan-card"))
        .args(["run", "--config"])
        .arg(configuration)
        .env_remove("NOTIFY_SOCKET")
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn said(event: Event) -> String {
    match event {
        Event::Opened { after } => format!("opened after={}", after.is_some()),
        Event::Begun {
            operator,
            operation,
            ..
        } => format!("begun {operator} {operation}"),
        Event::Ended { begun, outcome } => {
            let how = match outcome {
                Outcome::Done => "done",
                Outcome::Shown { .. } => "shown",
                Outcome::Refused { .. } => "refused",
                Outcome::Unknown { .. } => "unknown",
                Outcome::Interrupted => "interrupted",
            };
            format!("ended {begun} {how}")
        }
        Event::Refused {
            operator, reason, ..
        } => format!(
            "refused {} {reason}",
            operator.as_deref().unwrap_or("nobody")
        ),
        Event::MoreRefused { count, .. } => format!("refused {count} more"),
    }
}
