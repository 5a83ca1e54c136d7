//! Asking the verifier, as an operator.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bartizan_channel::https::{self, Endpoint, Request, Response};
use bartizan_channel::{ChannelError, Connector, Fault, Identity, LocalSigner};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::listing;
use crate::operator::Credentials;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take to publish a bundle: 64 MiB are on their way for a minute at most.
const UPLOAD: Duration = Duration::from_secs(120);
/// Largest answer in bytes: a page of verdicts, or a profile.
const MAX_ANSWER: usize = 64 << 20;

/// Where the verifier is.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifierPlace {
    /// The verifier, `host:port`.
    #[arg(long, env = "BARTIZAN_VERIFIER", default_value = "localhost:8443")]
    verifier: String,
}

/// Where the verifier is, and who asks.
#[derive(Args, Clone, Debug)]
pub(crate) struct Verifier {
    #[command(flatten)]
    pub(crate) place: VerifierPlace,
    #[command(flatten)]
    pub(crate) credentials: Credentials,
}

/// The verifier could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifierError {
    /// No connection.
    #[error(
        "the verifier cannot be reached at {verifier}: {source}; is it running, and is `--verifier` right?"
    )]
    Unreachable {
        /// Where it was sought.
        verifier: String,
        /// Why.
        source: ChannelError,
    },
    /// Somebody answers who is not the fleet's verifier, or who does not take this operator for one of the fleet.
    #[error(
        "{verifier} and this operator do not trust each other: {source}; is it the fleet's verifier, of the fleet CA in the operator's folder, and is the operator's certificate valid?"
    )]
    Untrusted {
        /// Where it was sought.
        verifier: String,
        /// Why.
        source: ChannelError,
    },
    /// It may have been asked, and no answer is there.
    #[error(
        "the verifier at {verifier} did not answer: {source}; whether it did what was asked is not known: see by `list` or `show` before you try again"
    )]
    Unanswered {
        /// Where it was sought.
        verifier: String,
        /// Why.
        source: ChannelError,
    },
    /// It may have been asked, and what it answers is too large, or no HTTP.
    #[error(
        "the answer of the verifier at {verifier} cannot be used: {source}; whether it did what was asked is not known: see by `list` or `show` before you try again"
    )]
    Answer {
        /// Where it was sought.
        verifier: String,
        /// Why.
        source: ChannelError,
    },
    /// The exchange failed for a reason of this side's.
    #[error("the verifier at {verifier} was not asked: {source}")]
    Exchange {
        /// Where it was sought.
        verifier: String,
        /// Why.
        source: ChannelError,
    },
    /// It refused.
    #[error("the verifier refused ({status}, {kind}): {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Problem type.
        kind: String,
        /// For a person.
        detail: String,
    },
    /// `host:port` is neither.
    #[error("`{0}` is not host:port; give `--verifier` as `verifier.example:8443` or `[::1]:8443`")]
    Address(String),
}

impl VerifierError {
    /// What the failure of a link means.
    pub(crate) fn channel(verifier: &str, source: ChannelError) -> Self {
        let verifier = verifier.to_owned();
        match source.fault() {
            Fault::Away if source.may_have_been_asked() => Self::Unanswered { verifier, source },
            Fault::Unusable if source.may_have_been_asked() => Self::Answer { verifier, source },
            Fault::Away => Self::Unreachable { verifier, source },
            Fault::Untrusted => Self::Untrusted { verifier, source },
            Fault::Unusable if matches!(source, ChannelError::ServerName(_)) => {
                Self::Address(verifier)
            }
            Fault::Unusable => Self::Exchange { verifier, source },
        }
    }
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    detail: String,
}

impl Verifier {
    /// Sends one request and returns the JSON of the answer (null if it has no body).
    pub(crate) fn ask(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let body = body
            .map(|body| body.to_string().into_bytes())
            .unwrap_or_default();
        self.send(method, path, body)
    }

    /// All rows of a list; `name` is what the answer calls them.
    pub(crate) fn list(&self, path: &str, name: &str) -> Result<Value> {
        listing::rows(path, name, None, usize::MAX, |page| {
            self.ask("GET", page, None)
        })
    }

    /// Sends a JSON document as it is.
    pub(crate) fn send(&self, method: &'static str, path: &str, body: Vec<u8>) -> Result<Value> {
        let path = path.to_owned();
        let request = Request { method, path, body };
        self.exchange(async |connector, endpoint| {
            https::request(connector, endpoint, request, MAX_ANSWER, DEADLINE).await
        })
    }

    /// Posts bytes that are no JSON.
    pub(crate) fn upload(&self, path: &str, body: Vec<u8>) -> Result<Value> {
        let (method, path) = ("POST", path.to_owned());
        let request = Request { method, path, body };
        self.exchange(async |connector, endpoint| {
            https::upload(connector, endpoint, request, MAX_ANSWER, UPLOAD).await
        })
    }

    fn exchange(
        &self,
        ask: impl AsyncFnOnce(&Connector, &Endpoint) -> Result<Response, ChannelError>,
    ) -> Result<Value> {
        let endpoint = self.endpoint()?;
        let signer = LocalSigner::from_pkcs8(self.credentials.key()?.pkcs8_der())?;
        let identity = Arc::new(Identity::new(self.credentials.chain()?, Arc::new(signer)));
        let fleet_ca = self.credentials.fleet_ca()?;
        let connector = Connector::authenticated(move || Arc::clone(&identity), fleet_ca.der())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let response = runtime
            .block_on(ask(&connector, &endpoint))
            .map_err(|error| VerifierError::channel(&self.place.verifier, error))?;
        if !(200..300).contains(&response.status) {
            let problem: Problem = serde_json::from_slice(&response.body).unwrap_or(Problem {
                kind: String::new(),
                detail: String::new(),
            });
            let refused = VerifierError::Refused {
                status: response.status,
                kind: problem.kind,
                detail: problem.detail,
            };
            return Err(refused.into());
        }
        Ok(if response.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&response.body)?
        })
    }

    fn endpoint(&self) -> Result<Endpoint, VerifierError> {
        let wrong = || VerifierError::Address(self.place.verifier.clone());
        let (host, port) = self.place.verifier.rsplit_once(':').ok_or_else(wrong)?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Endpoint {
            server_name: host.clone(),
            host,
            port: port.parse().map_err(|_| wrong())?,
        })
    }
}

/// A path segment, percent-encoded (RFC 3986 section 2.1).
pub(crate) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Where files of the command line may go wrong.
pub(crate) fn read(path: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("could not read {}", path.display()))
}
