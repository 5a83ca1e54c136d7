//! Operations on a host: each is signed by an operator and authorised by the card. What is not is refused, and the log says so.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bartizan_attestation::cose::{MessageType, sign1};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::host::{
    MAX_FRAME, OperationReply, OperationRequest, OperatorReply, OperatorRequest,
};
use bartizan_attestation::identity::CardId;
use bartizan_attestation::operation::{Operation, Order, sign_order};
use bartizan_local::{read_frame, write_frame};
use bartizan_tests::operator::Operator;
use bartizan_tests::stack::Stack;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("operations::unsigned_is_refused", unsigned),
    (
        "operations::out_of_its_window_is_refused",
        out_of_its_window,
    ),
    ("operations::replayed_is_refused", replayed),
    ("operations::for_another_host_is_refused", for_another_host),
    ("operations::beyond_the_role_is_refused", beyond_the_role),
    ("operations::by_a_revoked_operator_is_refused", revoked),
    (
        "operations::hypervisor_answers_the_card_alone",
        around_the_card,
    ),
    ("operations::tls_client_key_is_rotated", rotated),
    ("operations::host_proves_its_boot_when_ordered", attested),
    ("operations::edited_log_is_noticed", edited_log),
];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An operator's key, used without the command line.
struct Forge<'s> {
    stack: &'s Stack,
    key: EphemeralKey,
    chain: Vec<Vec<u8>>,
    host: CardId,
}

impl<'s> Forge<'s> {
    fn of(stack: &'s Stack, operator: &Operator) -> Result<Self> {
        let read = |name: &str| fs::read(operator.folder().join(name));
        let key = EphemeralKey::from_pkcs8_der(&read("operator.pk8")?)?;
        let pem = read("operator.pem")?;
        let chain = CertificateDer::pem_slice_iter(&pem).map(|one| Ok(one?.to_vec()));
        let OperationReply::Host(host) = ask(&socket(stack), &OperationRequest::Describe)? else {
            bail!("the card does not say who it is");
        };
        Ok(Self {
            stack,
            key,
            chain: chain.collect::<Result<_>>()?,
            host,
        })
    }

    fn order(&self) -> Result<Order> {
        let mut nonce = [0; 32];
        aws_lc_rs::rand::fill(&mut nonce)?;
        let now = now()?;
        Ok(Order {
            version: Order::VERSION,
            host: self.host,
            operation: Operation::ListGuests,
            nonce: nonce.to_vec().into(),
            issued_at: now,
            expires_at: now + 60,
        })
    }

    fn sign(&self, order: &Order) -> Result<Vec<u8>> {
        Ok(sign_order(order, &self.chain, &self.key)?)
    }

    fn hand_in(&self, signed: Vec<u8>) -> Result<OperationReply> {
        ask(&socket(self.stack), &OperationRequest::Perform(signed))
    }

    /// Refused with this word, which is in the log then, too.
    fn refused(&self, signed: Vec<u8>, word: &str) -> Result<()> {
        match self.hand_in(signed)? {
            OperationReply::Refused(refusal) if refusal.word() == word => {}
            other => bail!("not `{word}`: {other:?}"),
        }
        logged(self.stack, word)
    }
}

/// That an order was refused with this word is in the log.
fn logged(stack: &Stack, word: &str) -> Result<()> {
    let last = stack.operator.must(&["host", "log", "--last", "5"])?;
    let is_it = |row: &Value| row["event"] == "refused" && row["outcome"] == word;
    let logged = last.as_array().is_some_and(|rows| rows.iter().any(is_it));
    ensure!(logged, "`{word}` is not in the log: {last}");
    Ok(())
}

fn unsigned(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let forge = Forge::of(stack, &stack.operator)?;
    let order = forge.order()?;
    forge.refused(order.encode(), "malformed")?;
    let kind = MessageType::Operation;
    forge.refused(sign1(kind, &order.encode(), &[], &forge.key)?, "signer")?;
    let stranger = EphemeralKey::generate()?;
    let stolen = sign_order(&order, &forge.chain, &stranger)?;
    forge.refused(stolen, "signature")?;
    let mut changed = forge.sign(&order)?;
    let last = changed.last_mut().context("it is not empty")?;
    *last ^= 1;
    forge.refused(changed, "signature")?;
    let done = forge.hand_in(forge.sign(&order)?)?;
    ensure!(matches!(done, OperationReply::Guests(_)), "{done:?}");
    Ok(())
}

fn out_of_its_window(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let forge = Forge::of(stack, &stack.operator)?;
    let at = |from: u64, to: u64| {
        let mut order = forge.order()?;
        (order.issued_at, order.expires_at) = (from, to);
        forge.sign(&order)
    };
    let now = now()?;
    forge.refused(at(now - 100, now - 1)?, "expired")?;
    forge.refused(at(now + 300, now + 400)?, "not-yet-valid")?;
    forge.refused(at(now, now + 3600)?, "lifetime")
}

fn replayed(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let forge = Forge::of(stack, &stack.operator)?;
    let order = forge.sign(&forge.order()?)?;
    let done = forge.hand_in(order.clone())?;
    ensure!(matches!(done, OperationReply::Guests(_)), "{done:?}");
    forge.refused(order.clone(), "replayed")?;
    stack.host.card.kill()?;
    stack.host.card.start_again()?;
    Forge::of(stack, &stack.operator)?.refused(order, "replayed")
}

fn for_another_host(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let forge = Forge::of(stack, &stack.operator)?;
    let mut order = forge.order()?;
    order.host = CardId([7; 32]);
    forge.refused(forge.sign(&order)?, "other-host")?;
    let other = order.host.to_string();
    let ran = stack.operator.run(&["vm", "list", "--host", &other])?;
    ensure!(ran.code == Some(1), "{ran:?}");
    let this = forge.host.to_string();
    ensure!(
        ran.stderr.contains(&this),
        "it does not say which host: {ran:?}"
    );
    stack.operator.must(&["vm", "list", "--host", &this])?;
    Ok(())
}

fn beyond_the_role(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    for (operator, refused, allowed) in [
        (
            &stack.observer,
            &["vm", "stop", "nobody"][..],
            &["vm", "list"][..],
        ),
        (
            &stack.runner,
            &["key", "rotate", "tls-client"],
            &["vm", "list"],
        ),
    ] {
        let ran = operator.run(refused)?;
        ensure!(
            ran.code == Some(1) && ran.stderr.contains("needs"),
            "{ran:?}"
        );
        logged(stack, "role")?;
        operator.must(allowed)?;
    }
    // A runner gets as far as the hypervisor.
    let ran = stack.runner.run(&["vm", "stop", "nobody"])?;
    ensure!(
        ran.code == Some(1) && ran.stderr.contains("no VM `nobody`"),
        "{ran:?}"
    );
    Ok(())
}

fn revoked(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    stack.runner.must(&["vm", "list"])?;
    let subject = ["operator", "rae"];
    let revoke = [
        &["revocation", "add"][..],
        &subject,
        &["--reason", "a test"],
    ]
    .concat();
    stack.operator.must(&revoke)?;
    let ran = stack.runner.run(&["vm", "list"]);
    let restore = [&["revocation", "remove"][..], &subject].concat();
    stack.operator.must(&restore)?;
    let ran = ran?;
    ensure!(
        ran.code == Some(1) && ran.stderr.contains("revoked"),
        "{ran:?}"
    );
    logged(stack, "operator-revoked")?;
    stack.runner.must(&["vm", "list"])?;
    Ok(())
}

/// Root is nobody to the hypervisor.
fn around_the_card(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let socket = stack.layout.path("run/hypervisor/operator.sock");
    let answered = ask::<_, OperatorReply>(&socket, &OperatorRequest::List);
    ensure!(answered.is_err(), "{answered:?}");
    Ok(())
}

fn rotated(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    stack.operator.must(&["key", "rotate", "tls-client"])?;
    let (code, answer) = web.attest("--application nginx --pid $(cat /run/nginx.pid)")?;
    ensure!(code == Some(0), "{answer}");
    Ok(())
}

/// Now, not when it was booted: what the verifier has not heard of since is in the log of both.
fn attested(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let this = Forge::of(stack, &stack.operator)?.host.to_string();
    let refused = stack.observer.run(&["host", "attest"])?;
    ensure!(
        refused.code == Some(1) && refused.stderr.contains("needs"),
        "{refused:?}"
    );
    let attested = stack.runner.must(&["host", "attest"])?;
    ensure!(attested["accepted"] == true, "{attested}");
    ensure!(attested["quoted"] == false, "{attested}");
    let shown = stack.operator.must(&["boot", "show"])?;
    let boots = stack.operator.must(&["host", "boots", &this])?;
    for (at, part) in ["base", "bundle"].into_iter().enumerate() {
        let (judged, own) = (&attested["releases"][at], &shown["releases"][at]);
        ensure!(
            judged["part"] == part && judged["version"] == own["version"],
            "{attested}, {shown}"
        );
        ensure!(boots[0][part] == judged["manifest"], "{attested}, {boots}");
    }
    let log = stack.observer.must(&["host", "log", "--last", "20"])?;
    let rows = log.as_array().context("a log")?;
    let begun = rows
        .iter()
        .find(|row| row["operation"] == "attest-host" && row["event"] == "begun");
    let begun = begun.context("it is not in the log")?;
    ensure!(begun["operator"] == "rae", "{begun}");
    let ended = rows.iter().find(|row| row["begun"] == begun["index"]);
    ensure!(
        ended.context("its end is not in the log")?["outcome"] == "done",
        "{log}"
    );
    Ok(())
}

/// Whoever edits the log has no operation done on this host, until it is as it was.
fn edited_log(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    stack.operator.must(&["vm", "list"])?;
    let file = stack.layout.path("state/card/operations.log");
    stack.host.card.kill()?;
    let before = fs::read_to_string(&file)?;
    let edited = before.replacen("\"alice\"", "\"carol\"", 1);
    ensure!(edited != before, "nothing to edit");
    // In place: it stays the card's.
    fs::write(&file, edited)?;
    stack.host.card.start_again()?;
    let ran = stack.operator.run(&["vm", "list"]);
    stack.host.card.kill()?;
    fs::write(&file, before)?;
    stack.host.card.start_again()?;
    let ran = ran?;
    ensure!(
        ran.code == Some(1) && ran.stderr.contains("was changed"),
        "{ran:?}"
    );
    let log = stack.observer.must(&["host", "log"])?;
    ensure!(log.as_array().is_some_and(|rows| rows.len() > 3), "{log}");
    Ok(())
}

fn socket(stack: &Stack) -> std::path::PathBuf {
    stack.layout.path("run/card/operations.sock")
}

fn ask<Q, A>(socket: &Path, question: &Q) -> Result<A>
where
    Q: minicbor::Encode<()>,
    A: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>,
{
    let mut link = UnixStream::connect(socket)?;
    link.set_read_timeout(Some(PATIENCE))?;
    // It may be closed by then.
    let _closed = write_frame(&mut link, question, MAX_FRAME);
    Ok(read_frame(&mut link, MAX_FRAME)?)
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
