//! Application profiles.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use bartizan_attestation::profile::{ApplicationProfile, ProfileError};
use serde_json::value::RawValue;

use super::access::Operator;
use super::body::{Bodiless, Body};
use super::documents::{ProfileRevisionDocument, ProfilesDocument};
use super::input::{Parameters, Segment};
use super::listing::{AnswerPayer, PageQuery, PageShare, Paid};
use crate::clock::now_ms;
use crate::problem::{Problem, ProblemDocument, ProblemType};
use crate::service::Service;
use crate::storage::StorageError;
use crate::task::{blocking, to_its_end, to_its_end_and_sent};

/// A profile was not put, shown or withdrawn.
#[derive(Debug, thiserror::Error)]
enum ProfileRouteError {
    /// It is no profile.
    #[error("the profile is refused: {0}")]
    Refused(#[from] ProfileError),
    /// It is another application's.
    #[error("the profile is of `{profile}`, the path names `{path}`; put it under its own name")]
    OtherApplication {
        /// The application in the profile.
        profile: String,
        /// The application in the path.
        path: String,
    },
    /// There is none.
    #[error("this application has no profile; see GET /v1/profiles")]
    NotFound,
}

impl ProblemType for ProfileRouteError {
    fn kind(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Refused(_) => ("profile-refused", StatusCode::UNPROCESSABLE_ENTITY),
            Self::OtherApplication { .. } => (
                "profile-of-other-application",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            Self::NotFound => ("no-profile", StatusCode::NOT_FOUND),
        }
    }
}

/// Puts a profile as the application's newest revision; reports are judged by it from the answer on.
#[utoipa::path(
    put, path = "/v1/profiles/{application}", tag = "operator",
    params(("application" = String, Path, description = "The application's name.")),
    request_body(content = serde_json::Value, description = "The profile."),
    responses(
        (status = 200, body = ProfileRevisionDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Segment(application): Segment,
    Body { bytes, share }: Body,
) -> Result<Paid, Problem> {
    let put = to_its_end_and_sent(share, async move {
        let parse = move || ApplicationProfile::from_json(&bytes);
        let profile = blocking(parse).await?.map_err(ProfileRouteError::from)?;
        if profile.document().application != application {
            let profile = profile.document().application.clone();
            return Err(Problem::from(ProfileRouteError::OtherApplication {
                profile,
                path: application,
            }));
        }
        let text = String::from_utf8(profile.to_json())
            .map_err(|_| StorageError::Damaged { table: "profiles" })?;
        drop(profile);
        let (storage, operator, now) = (&service.storage, operator.name, now_ms());
        let put = storage.put_profile(&application, &text, &operator, now);
        let revision = put.await?;
        tracing::info!(application, revision, operator, "profile put");
        Ok(ProfileRevisionDocument {
            application,
            revision,
            operator,
            created_at_ms: now,
            profile: raw(text)?,
        })
    });
    let (document, share) = put.await?;
    Ok(Paid::new(&document, share))
}

/// The application's current profile.
#[utoipa::path(
    get, path = "/v1/profiles/{application}", tag = "operator",
    params(("application" = String, Path, description = "The application's name.")),
    responses(
        (status = 200, body = ProfileRevisionDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Segment(application): Segment,
    payer: AnswerPayer,
) -> Result<Paid, Problem> {
    let storage = &service.storage;
    let size = storage.profile_size(&application).await?;
    let size = size.ok_or(ProfileRouteError::NotFound)?;
    let share = payer.take(&service, size.bytes).await?;
    // That very revision, which is as large as was paid for, whatever was put meanwhile.
    let stored = storage
        .profile_revision(&application, size.revision)
        .await?;
    let stored = stored.ok_or(ProfileRouteError::NotFound)?;
    let document = ProfileRevisionDocument {
        application,
        revision: stored.revision,
        operator: stored.operator,
        created_at_ms: stored.created_at_ms,
        profile: raw(stored.body)?,
    };
    Ok(Paid::new(&document, share))
}

/// Withdraws an application's profile: its reports are no longer affirmed.
#[utoipa::path(
    delete, path = "/v1/profiles/{application}", tag = "operator",
    params(("application" = String, Path, description = "The application's name.")),
    responses(
        (status = 204, description = "It is withdrawn."),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn withdraw(
    State(service): State<Arc<Service>>,
    operator: Operator,
    Segment(application): Segment,
    Bodiless(share): Bodiless,
) -> Result<StatusCode, Problem> {
    to_its_end(share, async move {
        let (storage, operator) = (&service.storage, operator.name);
        let withdrawn = storage.withdraw_profile(&application, &operator, now_ms());
        if !withdrawn.await? {
            return Err(Problem::from(ProfileRouteError::NotFound));
        }
        tracing::info!(application, operator, "profile withdrawn");
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// The applications that have a profile.
#[utoipa::path(
    get, path = "/v1/profiles", tag = "operator",
    params(PageQuery),
    responses(
        (status = 200, body = ProfilesDocument),
        (status = "4XX", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    _operator: Operator,
    Parameters(query): Parameters<PageQuery>,
    share: PageShare,
) -> Result<Paid, Problem> {
    let limit = share.limit(query.limit, 1000)?;
    let storage = &service.storage;
    let page = storage.profiles(query.after.as_deref(), limit).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|summary| summary.application.clone());
    let profiles = page.rows.into_iter().map(Into::into).collect();
    Ok(share.answer(&ProfilesDocument { profiles, next }))
}

/// What was checked when it was put, as it is: as a tree it would be many times its size.
fn raw(body: String) -> Result<Box<RawValue>, StorageError> {
    RawValue::from_string(body).map_err(|_| StorageError::Damaged { table: "profiles" })
}
