use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;

/// For what is answered.
const PATIENCE: Duration = Duration::from_secs(30);
/// For what is not.
const SOON: Duration = Duration::from_millis(200);

/// A monitor that greets and answers each command with the lines that `answer` makes of its id.
async fn monitor(answer: impl Fn(u64) -> String + Send + 'static) -> Result<Qmp, QmpError> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    tokio::spawn(async move {
        let (reader, mut writer) = tokio::io::split(theirs);
        writer.write_all(b"{\"QMP\": {}}\n").await.unwrap();
        let mut lines = BufReader::new(reader).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let command: Value = serde_json::from_str(&line).unwrap();
            let text = answer(command["id"].as_u64().unwrap());
            if writer.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    Qmp::connect(ours, PATIENCE).await
}

#[tokio::test]
async fn events_between_replies_do_not_confuse() {
    let mut qmp = monitor(|id| {
        format!("{{\"event\": \"STOP\"}}\n{{\"event\": \"SHUTDOWN\", \"data\": {{\"reason\": \"guest-shutdown\"}}}}\n{{\"return\": {{}}, \"id\": {id}}}\n")
    })
    .await
    .unwrap();
    qmp.stop().await.unwrap();
    assert_eq!(qmp.shutdown_cause(), Some(ShutdownCause::GuestShutdown));
}

#[tokio::test]
async fn silence_is_a_timeout_and_the_late_answer_is_dropped() {
    let mut qmp = monitor(|id| match id {
        2 => String::new(),
        3 => "{\"return\": {}, \"id\": 2}\n{\"return\": {}, \"id\": 3}\n".into(),
        _ => format!("{{\"return\": {{}}, \"id\": {id}}}\n"),
    })
    .await
    .unwrap();
    qmp.deadline = SOON;
    assert!(matches!(
        qmp.stop().await,
        Err(QmpError::TimedOut {
            command: "stop",
            ..
        })
    ));
    qmp.deadline = PATIENCE;
    qmp.cont().await.unwrap();
}

#[test]
fn nothing_is_said_that_need_not_be() {
    let stop = Command {
        execute: "stop",
        arguments: None,
        id: 7,
    };
    assert_eq!(stop.line(), b"{\"execute\":\"stop\",\"id\":7}\n");
}

#[tokio::test]
async fn refusal_carries_qemus_words() {
    let mut qmp = monitor(|id| match id {
        1 => "{\"return\": {}, \"id\": 1}\n".into(),
        _ => format!("{{\"error\": {{\"class\": \"E\", \"desc\": \"no\"}}, \"id\": {id}}}\n"),
    })
    .await
    .unwrap();
    assert!(
        matches!(qmp.cont().await, Err(QmpError::Refused { description, .. }) if description == "no")
    );
    assert!(matches!(
        qmp.memory_tree().await,
        Err(QmpError::Refused { .. })
    ));
}

#[tokio::test]
async fn endless_line_and_flood_of_replies_end_the_connection() {
    let endless = monitor(|_| "x".repeat(2 * MAX_LINE)).await;
    assert!(
        matches!(endless, Err(QmpError::Line(LineError::TooLong(MAX_LINE)))),
        "{endless:?}"
    );
    let flood = monitor(|_| "{\"return\": {}, \"id\": 99}\n".repeat(100_000)).await;
    assert!(
        matches!(flood, Err(QmpError::Closed | QmpError::TimedOut { .. })),
        "{flood:?}"
    );
}

/// Known attack: a guest that sleeps is "stopped" for a snapshot, and wakes up in the midst of it.
#[tokio::test]
async fn a_guest_that_did_not_run_is_not_stopped() {
    let done = |id: u64| format!("{{\"return\": {{}}, \"id\": {id}}}\n");
    // It runs at first; each later `stop` finds it asleep.
    let mut qmp = monitor(move |id| match id {
        2 => format!("{{\"event\": \"STOP\"}}\n{}", done(id)),
        _ => done(id),
    })
    .await
    .unwrap();
    qmp.stop().await.unwrap();
    assert!(matches!(qmp.stop().await, Err(QmpError::NotRunning)));
}
