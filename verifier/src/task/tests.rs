use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::{TaskError, blocking, to_its_end};
use crate::memory::{MemoryBudget, Share};
use crate::payer::Payer;
use crate::problem::{Problem, ProblemType as _};

const DEADLINE: Duration = Duration::from_secs(20);

fn share_of(budget: &MemoryBudget) -> Share {
    let payer = Payer::network(IpAddr::V4(Ipv4Addr::LOCALHOST));
    budget.try_take(&payer, 1).unwrap()
}

#[tokio::test]
async fn who_goes_away_does_not_end_the_task_nor_get_its_memory_back() {
    let budget = MemoryBudget::new(2);
    let (go_on, told) = oneshot::channel();
    let (done, ended) = oneshot::channel();
    let work = async move {
        let _told = told.await;
        let _heard = done.send(());
        Ok::<_, Problem>(())
    };
    let mut asked = Box::pin(to_its_end(share_of(&budget), work));
    tokio::select! {
        biased;
        _ = &mut asked => panic!("it has ended"),
        () = yield_now() => {}
    }
    drop(asked);
    yield_now().await;
    assert_eq!(budget.free(), 1);
    go_on.send(()).unwrap();
    timeout(DEADLINE, ended).await.unwrap().unwrap();
    let back = async {
        while budget.free() < 2 {
            yield_now().await;
        }
    };
    timeout(DEADLINE, back).await.unwrap();
}

#[tokio::test]
async fn a_panic_is_told_as_such_and_nobody_is_asked_to_try_again() {
    let budget = MemoryBudget::new(2);
    let on_a_thread = blocking(|| -> u8 { panic!("on a thread") }).await;
    assert_eq!(on_a_thread, Err(TaskError::Panicked));
    let in_a_task = to_its_end::<(), Problem>(share_of(&budget), async { panic!("in a task") });
    let problem = in_a_task.await.unwrap_err();
    assert_eq!(problem.kind(), "internal");
    let response = problem.into_response();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(budget.free(), 2);
}

#[tokio::test]
async fn work_that_was_stopped_may_be_asked_for_again() {
    let stopped = tokio::spawn(std::future::pending::<()>());
    stopped.abort();
    let error = TaskError::from(stopped.await.unwrap_err());
    assert_eq!(error.kind(), ("stopping", StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(error.retry_after_s(), Some(1));
}
