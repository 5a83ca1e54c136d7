//! A disk that is full: what could not be committed is refused, and nothing else is lost.

use super::super::StorageError;
use super::*;

#[tokio::test]
async fn a_commit_that_fails_is_no_verdict_and_the_log_goes_on() {
    let database = database().await;
    let (log, _task) = VerdictLog::start(database.storage.clone(), for_ever());
    let record = async |id: &str| {
        let mut verdict = verdict(id, &guest(1), "nginx");
        verdict.evidence.report = vec![7; 1 << 20];
        log.record(guest(1), verdict).await
    };
    let limit = async |pages: i64| {
        let pragma = format!("PRAGMA max_page_count = {pages}");
        sqlx::query(sqlx::AssertSqlSafe(pragma))
            .execute(&database.storage.writer)
            .await
            .unwrap();
    };
    assert_eq!(record("before").await.unwrap(), Recorded::Durable);
    // SQLite's answer to it is that of a full disk: SQLITE_FULL.
    limit(1).await;
    let refused = record("refused").await.unwrap_err();
    assert!(matches!(refused, StorageError::Query(_)), "{refused}");
    assert_eq!(database.storage.verdict("refused").await.unwrap(), None);
    limit(1 << 30).await;
    assert_eq!(record("after").await.unwrap(), Recorded::Durable);
    for id in ["before", "after"] {
        let verdict = database.storage.verdict(id).await.unwrap().unwrap();
        assert!(verdict.evidence.is_ok(), "{id}");
    }
}
