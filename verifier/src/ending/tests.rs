use std::future::{pending, ready};
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;

fn lives() -> JoinHandle<()> {
    tokio::spawn(pending())
}

fn fails() -> JoinHandle<()> {
    tokio::spawn(async { panic!("a fault") })
}

fn tasks(verdict_writer: JoinHandle<()>, rotating: JoinHandle<()>) -> Tasks {
    Tasks {
        listeners: JoinSet::new(),
        verdict_writer: verdict_writer.into(),
        rotating: rotating.into(),
    }
}

#[tokio::test]
async fn without_one_of_its_tasks_it_ends_and_says_which() {
    let mut unserved = tasks(lives(), lives());
    unserved.listeners.spawn(async { panic!("a fault") });
    for (mut tasks, due) in [
        (tasks(fails(), lives()), "writes verdicts"),
        (tasks(lives(), fails()), "replaces keys"),
        (unserved, "serves"),
    ] {
        tasks.listeners.spawn(pending());
        let said = tasks.until(pending()).await.unwrap_err().to_string();
        assert!(said.contains(due) && said.contains("a fault"), "{said}");
    }
    let mut told = tasks(lives(), lives());
    assert!(told.until(ready(())).await.is_ok());
}

/// Whether the writer failed before or is to finish: who holds the service still records what it does.
#[tokio::test]
async fn what_was_begun_is_done_before_anything_is_closed() {
    for failed in [false, true] {
        let service = Arc::new(());
        let writer = if failed {
            fails()
        } else {
            tokio::spawn(ready(()))
        };
        let mut tasks = tasks(writer, lives());
        if failed {
            assert!(tasks.until(pending()).await.is_err());
        }
        let (go_on, told) = oneshot::channel::<()>();
        let done = Arc::new(AtomicBool::new(false));
        let (held, doing) = (Arc::clone(&service), Arc::clone(&done));
        tokio::spawn(async move {
            told.await.unwrap();
            doing.store(true, Ordering::SeqCst);
            drop(held);
        });
        let close = async { assert!(done.load(Ordering::SeqCst), "closed before") };
        let (ended, ()) = tokio::join!(tasks.end(service, close), async {
            tokio::task::yield_now().await;
            go_on.send(()).unwrap();
        });
        assert!(ended.is_ok(), "it is told once");
    }
}

#[tokio::test]
async fn a_writer_that_fails_at_the_very_end_is_told_of() {
    let ended = tasks(fails(), lives()).end(Arc::new(()), ready(())).await;
    assert!(ended.unwrap_err().to_string().contains("writes verdicts"));
}

/// In the test's time, which goes on when nothing else does.
#[tokio::test(start_paused = true)]
async fn what_never_ends_is_given_up() {
    let begun = Instant::now();
    assert_eq!(in_time(ready(1)).await, Some(1));
    assert_eq!(begun.elapsed().as_secs(), 0);
    let service = Arc::new(());
    let _held = Arc::clone(&service);
    let ended = tasks(tokio::spawn(ready(())), lives()).end(service, ready(()));
    assert!(ended.await.is_ok());
    assert_eq!(begun.elapsed().as_secs(), LAST_WORK.as_secs());
}
