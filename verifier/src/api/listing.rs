//! Large answers, paid for by whoever asks until they were sent: a page of a list, one profile, one verdict.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::body::payer;
use super::input::InputError;
use crate::memory::{MemoryBudget, MemoryError, Share};
use crate::payer::Payer;
use crate::problem::Problem;
use crate::service::Service;
use crate::storage::PageLimit;

/// Most rows of a page.
const MOST_ROWS: u32 = 1000;
/// Most bytes of a page as it is read; the row that reaches them is its last.
const MOST_BYTES: usize = 1 << 20;
/// How many times its bytes an answer takes in memory: read, with a chunk too much, and as JSON.
const EXPANSION: usize = 4;
/// The least that an answer is charged, in bytes.
const LEAST_CHARGE: usize = 64 << 10;

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// At most so many, 1 to 1000; 1000 if not given.
    pub(super) limit: Option<u32>,
    /// The `next` of the page before.
    pub(super) after: Option<String>,
}

impl PageQuery {
    /// Where the page begins, which this API has said itself.
    pub(super) fn cursor<T: FromStr>(&self) -> Result<Option<T>, InputError> {
        let after = self.after.as_deref().map(str::parse).transpose();
        after.map_err(|_| InputError::Field {
            field: "after",
            expected: "the `next` of the page before",
        })
    }
}

/// Leave to read a page: its share of the memory.
#[derive(Debug)]
pub(super) struct PageShare {
    bytes: usize,
    share: Share,
}

/// Leave to read one thing whose size is known: asked for before it is read.
#[derive(Debug)]
pub(super) struct AnswerPayer(Payer);

/// An answer as JSON, with the memory that it takes until it was sent.
#[derive(Debug)]
pub(super) struct Paid {
    json: Vec<u8>,
    _share: Share,
}

impl FromRequestParts<Arc<Service>> for PageShare {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        let limits = &service.config.limits;
        // Where there is little memory, pages are small: a quarter of it is a share that there can always be.
        let bytes = MOST_BYTES.min(limits.request_memory_bytes / (4 * EXPANSION));
        let taken = service.take_memory(&payer(parts), bytes * EXPANSION).await;
        let share = taken.map_err(|error: MemoryError| Problem::from(error))?;
        Ok(Self { bytes, share })
    }
}

impl FromRequestParts<Arc<Service>> for AnswerPayer {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &Arc<Service>,
    ) -> Result<Self, Self::Rejection> {
        Ok(Self(payer(parts)))
    }
}

impl AnswerPayer {
    /// The share for what is `bytes` large where it is kept.
    pub(super) async fn take(&self, service: &Service, bytes: usize) -> Result<Share, MemoryError> {
        let largest = MemoryBudget::largest_share(service.config.limits.request_memory_bytes);
        // What was put when there was more memory for it can still be read.
        let charge = (bytes.saturating_mul(EXPANSION)).clamp(LEAST_CHARGE, largest);
        service.take_memory(&self.0, charge).await
    }
}

impl PageShare {
    /// What a page of at most `rows` rows may hold; `default` if it is not said how many.
    pub(super) fn limit(&self, rows: Option<u32>, default: u32) -> Result<PageLimit, InputError> {
        let rows = rows.unwrap_or(default);
        if !(1..=MOST_ROWS).contains(&rows) {
            return Err(InputError::Field {
                field: "limit",
                expected: "1 to 1000",
            });
        }
        let bytes = self.bytes;
        Ok(PageLimit { rows, bytes })
    }

    /// The answer.
    pub(super) fn answer(self, page: &impl Serialize) -> Paid {
        Paid::new(page, self.share)
    }
}

impl Paid {
    /// The document as JSON; the share is kept until it was sent.
    pub(super) fn new(document: &impl Serialize, share: Share) -> Self {
        Self {
            // INVARIANT: the documents are made of strings, numbers and lists.
            json: serde_json::to_vec(document).unwrap_or_default(),
            _share: share,
        }
    }
}

impl AsRef<[u8]> for Paid {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

impl IntoResponse for Paid {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, "application/json")];
        // The share is given back with the last part of the body.
        (json, Bytes::from_owner(self)).into_response()
    }
}
