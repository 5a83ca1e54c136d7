//! Telling the verifier how this host was booted. It serves no host before it knows.
//!
//! Told once the boot is done, again whenever the verifier says that it does not accept it, since its operators may have
//! registered a release meanwhile, or its database may be another one; and when an operator orders it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bartizan_attestation::boot::{Phase, Sha384};
use bartizan_attestation::host::{AcceptedBoot, AcceptedRelease, CardRefusal};
use bartizan_attestation::keys::{BootDescription, TpmQuote, VaultReply, VaultRequest};
use bartizan_channel::https::{Request, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::problem::is_problem;
use super::{DEADLINE, MAX_ANSWER, Verifier, unanswered, unclear, understand};
use crate::service::Card;
use crate::vault::VaultError;

/// How long a refusal is repeated before the verifier is asked again.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// How often a boot may go on while it is told of: it has five phases.
const TRIES: u32 = 5;
/// Between two looks whether the boot is done.
const LOOK: Duration = Duration::from_millis(500);
/// Between two tries to tell the verifier, at first; then twice that, and so on.
const RETRY: Duration = Duration::from_secs(10);
/// At most.
const MAX_RETRY: Duration = Duration::from_secs(600);

/// What was told so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How often the verifier has accepted the boot.
    accepted: AtomicU64,
    /// One at a time.
    telling: Mutex<Telling>,
    /// An order to do so is under way.
    attesting: Mutex<()>,
}

/// What came of the telling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// The verifier accepts the boot.
    Accepted,
    /// The boot was not measured: whether such a host is served is the verifier's to say.
    NothingToTell,
}

/// What came of one handing-in.
enum Sent {
    Answered(Response),
    /// The boot went on meanwhile.
    WentOn(Box<BootDescription>),
}

/// What the verifier says of a boot that it accepts.
#[derive(Deserialize)]
struct Answer {
    base: String,
    base_version: u64,
    bundle: String,
    bundle_version: u64,
    phase: String,
    quoted: bool,
    firmware: Option<String>,
}

#[derive(Debug, Default)]
struct Telling {
    /// When it was refused last, and how.
    refused: Option<(Instant, CardRefusal)>,
    /// The phases that the host's TLS certificate is of, once one was made for the telling.
    certified: Vec<Sha384>,
}

impl Told {
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Whether that is the verifier's word that it does not accept this host's boot.
pub(super) fn is_not_accepted(refusal: &CardRefusal) -> bool {
    is_problem(refusal, "boot-not-accepted")
}

/// Tells the verifier as soon as the boot is done.
pub async fn tell(card: &Card) {
    let mut retry = RETRY;
    loop {
        match card.verifier.tell_boot(card.verifier.told.accepted()).await {
            Ok(_) => return,
            Err(CardRefusal::BootUnderWay) => tokio::time::sleep(LOOK).await,
            Err(refusal) if is_problem(&refusal, "boot-not-demanded") => return,
            Err(refusal) => {
                tracing::warn!(%refusal, "the verifier does not know how this host was booted");
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(MAX_RETRY);
            }
        }
    }
}

impl Verifier {
    /// Hands the boot's log in, unless somebody did since `seen`.
    pub(super) async fn tell_boot(&self, seen: u64) -> Result<Heard, CardRefusal> {
        let mut telling = self.told.telling.lock().await;
        if self.told.accepted() != seen {
            return Ok(Heard::Accepted);
        }
        if let Some((at, refusal)) = &telling.refused
            && at.elapsed() < REFUSED_FOR
        {
            return Err(refusal.clone());
        }
        Ok(match self.hand_in_and_note(&mut telling).await? {
            Some(_) => Heard::Accepted,
            None => Heard::NothingToTell,
        })
    }

    /// Hands the boot's log in now, whatever the verifier has said of it so far; none where the boot was not measured. One at a time: who
    /// is to be told because the verifier asked waits for one at most.
    pub(crate) async fn attest(&self) -> Result<Option<AcceptedBoot>, CardRefusal> {
        let Ok(_turn) = self.told.attesting.try_lock() else {
            return Err(CardRefusal::Busy(
                "another order to prove this host's boot is under way".into(),
            ));
        };
        let mut telling = self.told.telling.lock().await;
        let handed_in = self.hand_in_and_note(&mut telling).await?;
        let read = |response| understand::<Answer>(&response)?.accepted();
        handed_in.map(read).transpose()
    }

    /// What the verifier answered where it accepts it.
    async fn hand_in_and_note(
        &self,
        telling: &mut Telling,
    ) -> Result<Option<Response>, CardRefusal> {
        match self.hand_in(&mut telling.certified).await {
            Ok(accepted) => {
                if accepted.is_some() {
                    self.told.accepted.fetch_add(1, Ordering::SeqCst);
                }
                telling.refused = None;
                Ok(accepted)
            }
            // That is not for long.
            Err(CardRefusal::BootUnderWay) => Err(CardRefusal::BootUnderWay),
            Err(refusal) => {
                telling.refused = Some((Instant::now(), refusal.clone()));
                Err(refusal)
            }
        }
    }

    async fn hand_in(&self, certified: &mut Vec<Sha384>) -> Result<Option<Response>, CardRefusal> {
        let mut boot = self.describe_boot().await?;
        if !boot.measured {
            return Ok(None);
        }
        for _ in 0..TRIES {
            match self.hand_in_as(boot, certified).await? {
                Sent::Answered(response) => {
                    // What else it says of the boot is for who asks: an older verifier says less.
                    understand::<IgnoredAny>(&response)?;
                    tracing::info!("the verifier accepts how this host was booted");
                    return Ok(Some(response));
                }
                Sent::WentOn(since) => boot = *since,
            }
        }
        Err(CardRefusal::BootUnderWay)
    }

    async fn describe_boot(&self) -> Result<BootDescription, CardRefusal> {
        let described = self.identity.vault().ask_async(VaultRequest::DescribeBoot);
        match described.await? {
            VaultReply::Boot(boot) => Ok(boot),
            _ => Err(VaultError::Unexpected.into()),
        }
    }

    /// Log, certificate and quote are of one moment, or nothing is sent.
    async fn hand_in_as(
        &self,
        boot: BootDescription,
        certified: &mut Vec<Sha384>,
    ) -> Result<Sent, CardRefusal> {
        let done = boot.phases.len() >= usize::from(Phase::Hypervisor.number());
        if !done && boot.stopped.is_none() {
            return Err(CardRefusal::BootUnderWay);
        }
        if *certified != boot.phases {
            // The certificate in use may be of an earlier phase.
            tokio::task::block_in_place(|| self.rotate())?;
            certified.clone_from(&boot.phases);
        }
        let (mut connection, age) = self.open().await?;
        // For this very connection: a quote is of no use on another one.
        let nonce = connection.binding().to_vec();
        let quote = VaultRequest::Quote { nonce };
        let VaultReply::Quote(quote) = self.identity.vault().ask_async(quote).await? else {
            return Err(VaultError::Unexpected.into());
        };
        let since = self.describe_boot().await?;
        if since.log != boot.log {
            self.idle.keep(connection, age);
            return Ok(Sent::WentOn(Box::new(since)));
        }
        let body = json!({
            "log": B64.encode(&*boot.log), "quote": quote.as_ref().map(quoted),
            "firmware": boot.firmware.as_ref().map(|log| B64.encode(&**log)),
        });
        let request = Request {
            method: "POST",
            path: "/v1/hosts/boot".into(),
            body: body.to_string().into_bytes(),
        };
        let sent = connection.send(request, MAX_ANSWER, DEADLINE).await;
        let response = sent.map_err(|error| unanswered(&error))?;
        self.idle.keep(connection, age);
        Ok(Sent::Answered(response))
    }
}

impl Answer {
    fn accepted(self) -> Result<AcceptedBoot, CardRefusal> {
        let release = |manifest: &str, version| {
            let manifest = manifest.parse();
            manifest.map(|manifest| AcceptedRelease { manifest, version })
        };
        let base = release(&self.base, self.base_version);
        let bundle = release(&self.bundle, self.bundle_version);
        let (Ok(base), Ok(bundle), Some(phase)) = (base, bundle, Phase::named(&self.phase)) else {
            return Err(unclear("it names no boot that it accepts"));
        };
        Ok(AcceptedBoot {
            base,
            bundle,
            phase,
            quoted: self.quoted,
            firmware: self.firmware,
        })
    }
}

fn quoted(quote: &TpmQuote) -> Value {
    let pcrs = quote.pcrs.iter();
    let pcrs: BTreeMap<_, _> = pcrs
        .map(|(number, value)| (number.to_string(), value.to_string()))
        .collect();
    json!({
        "attested": B64.encode(&*quote.attested), "signature": B64.encode(&*quote.signature), "pcrs": pcrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_boot_is_named_as_it_should_be() {
        let manifest = "ab".repeat(48);
        let right = json!({
            "base": manifest, "base_version": 3, "bundle": "cd".repeat(48), "bundle_version": 4,
            "phase": "enclave", "quoted": true, "firmware": "ovmf",
        });
        let read = |answer: &Value| {
            let (status, body) = (200, answer.to_string().into_bytes());
            understand::<Answer>(&Response { status, body })?.accepted()
        };
        let accepted = read(&right).unwrap();
        assert_eq!(accepted.base.manifest.to_string(), manifest);
        assert_eq!((accepted.base.version, accepted.bundle.version), (3, 4));
        assert_eq!(accepted.phase, Phase::Enclave);
        assert!(accepted.quoted && accepted.firmware.as_deref() == Some("ovmf"));
        for (member, wrong) in [
            ("base", json!("ab")),
            ("bundle", Value::Null),
            ("bundle_version", json!(-1)),
            ("phase", json!("guest")),
            ("quoted", json!("yes")),
        ] {
            let mut answer = right.clone();
            answer[member] = wrong;
            let refused = read(&answer);
            assert!(
                matches!(refused, Err(CardRefusal::VerifierUnclear(_))),
                "{member}: {refused:?}"
            );
        }
    }
}
