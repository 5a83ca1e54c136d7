//! The host's side of the conversation: the guest API over vsock.

use std::io::ErrorKind;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vsock::VsockStream;

use crate::http::{self, HttpError, Response};

/// The host's CID (virtio 1.2 section 5.10.4).
const HOST_CID: u32 = 2;
/// The attestation API's port.
const API_PORT: u32 = 1027;
/// How long an answer may take: the verifier is asked on the way.
const DEADLINE: Duration = Duration::from_secs(60);
/// Largest answer: a report with the page digests of the largest region.
const MAX_ANSWER: u64 = 48 << 20;

/// The attestation API of this guest's host.
#[derive(Clone, Copy, Debug)]
pub struct HostApi {
    cid: u32,
    port: u32,
}

/// A problem document of the API (RFC 9457).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem: `urn:bartizan:problem:…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// HTTP status.
    pub status: u16,
    /// For a person.
    #[serde(default)]
    pub detail: String,
    /// Where pages are not resident: of which process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The verifier's own problem document, where it was the verifier that refused.
    #[serde(default)]
    pub verifier: Option<Box<Problem>>,
}

/// The API could not be used.
#[derive(Debug, thiserror::Error)]
pub enum HostApiError {
    /// No connection: no such service for this guest, or its host side is restarting.
    #[error(
        "the host's attestation API cannot be reached (vsock port {API_PORT}): {0}; the host may be restarting, try again"
    )]
    Unreachable(std::io::Error),
    /// The exchange failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The host or the verifier refused.
    #[error("{}", describe(.0))]
    Refused(Problem),
    /// The answer has another shape than promised.
    #[error("the host's answer is malformed: {0}")]
    Malformed(String),
}

impl HostApiError {
    /// Whether the same request may well be answered a little later: the host is busy, or a part of it is being restarted. The
    /// kernel gives a connection 2 s, which a busy host may need longer for. A machine without vsock is none that is busy.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(error) => matches!(
                error.kind(),
                ErrorKind::TimedOut | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
            ),
            Self::Refused(problem) => [429, 503].contains(&problem.status),
            Self::Http(_) | Self::Malformed(_) => false,
        }
    }
}

fn describe(problem: &Problem) -> String {
    let innermost = problem.verifier.as_deref().unwrap_or(problem);
    format!("refused ({}): {}", innermost.kind, innermost.detail)
}

impl HostApi {
    /// The API at its well-known place.
    #[must_use]
    pub const fn vsock() -> Self {
        Self {
            cid: HOST_CID,
            port: API_PORT,
        }
    }

    /// Posts JSON and returns JSON.
    pub(crate) fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<A, HostApiError> {
        self.exchange(
            "POST",
            path,
            "application/json",
            body.to_string().as_bytes(),
        )
    }

    /// Posts a COSE message and returns JSON.
    pub(crate) fn post_cose<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &[u8],
    ) -> Result<A, HostApiError> {
        self.exchange("POST", path, "application/cose", body)
    }

    fn exchange<A: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<A, HostApiError> {
        let mut stream = VsockStream::connect_with_cid_port(self.cid, self.port)
            .map_err(HostApiError::Unreachable)?;
        stream
            .set_read_timeout(Some(DEADLINE))
            .map_err(HttpError::from)?;
        stream
            .set_write_timeout(Some(DEADLINE))
            .map_err(HttpError::from)?;
        understand(&http::exchange(
            &mut stream,
            method,
            path,
            content_type,
            body,
            MAX_ANSWER,
        )?)
    }
}

fn understand<A: DeserializeOwned>(response: &Response) -> Result<A, HostApiError> {
    let malformed = |error: serde_json::Error| HostApiError::Malformed(error.to_string());
    if response.status == 200 {
        return serde_json::from_slice(&response.body).map_err(malformed);
    }
    Err(HostApiError::Refused(
        serde_json::from_slice(&response.body).map_err(malformed)?,
    ))
}

/// Decodes base64url without padding.
pub(crate) fn decode(name: &str, text: &str) -> Result<Vec<u8>, HostApiError> {
    B64.decode(text)
        .map_err(|error| HostApiError::Malformed(format!("`{name}`: {error}")))
}
