//! A whole stream, with a verifier at its other end and a card that keeps what it is given.

use std::convert::Infallible;
use std::time::Duration;

use bartizan_stream::message::Guest;
use bartizan_stream::server::{self, Opening};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A verifier that takes one stream.
fn listen(link: DuplexStream) -> mpsc::Receiver<Option<Opening>> {
    let (opened, openings) = mpsc::channel(1);
    let service = service_fn(move |request| {
        let opened = opened.clone();
        async move {
            let (response, opening) = server::accept(request).await;
            let _ended = opened.send(opening).await;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = server::connections().serve_connection(TokioIo::new(link), service);
    tokio::spawn(async move { drop(connection.await) });
    openings
}

impl Rig {
    /// The card keeps the next thing that there is to keep.
    async fn keep_next(&self) {
        let mut changes = self.held.changes();
        let due = loop {
            if let Some(due) = self.held.due() {
                break due;
            }
            changes.changed().await.unwrap();
        };
        self.held.stored(due.number, &self.authors, &self.ruling);
    }
}

#[tokio::test]
async fn what_is_heard_is_kept_and_then_answered() {
    let rig = Rig::new();
    // It is known who runs: nobody.
    rig.ruling.change(|decider| drop(decider.only(|_| true)));
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut openings = listen(far);
    let verifier = async {
        let opening = openings.recv().await.unwrap().unwrap();
        let (hello, mut up, down) = opening.hello().await.unwrap();
        assert_eq!((hello.in_force, hello.last_command), (None, 0));
        down.send(Down::EvidenceKept(0)).await.unwrap();
        let policies = [signed(&rig.key, &text("web", 1))];
        let offered = set(3, &policies);
        down.send(Down::PolicySet(offered)).await.unwrap();
        // What is refused waits for what was heard before.
        down.send(Down::PolicySet(set(2, &[]))).await.unwrap();
        rig.keep_next().await;
        let (mut in_force, mut refused) = (false, false);
        for _ in 0..2 {
            match up.next().await.unwrap() {
                Up::PolicyInForce { set, .. } => in_force = set.number == number(3),
                Up::PolicyRefused { number: of, .. } => refused = of == number(2),
                other => panic!("{other:?}"),
            }
        }
        assert!(in_force && refused);
        let guest = Guest {
            vm: [4; 16],
            boot: 1,
        };
        let command = Down::Command {
            number: number(7),
            kind: CommandKind::Isolate,
            guest,
        };
        down.send(command.clone()).await.unwrap();
        rig.keep_next().await;
        for _ in 0..2 {
            let Up::CommandDone {
                number: of,
                outcome,
                ..
            } = up.next().await.unwrap()
            else {
                panic!("no answer");
            };
            assert_eq!((of, outcome), (number(7), CommandOutcome::NoGuest));
            // Once more: it is answered for without being done or kept.
            down.send(command.clone()).await.unwrap();
        }
        assert_eq!(rig.rules(), 3);
    };
    let serving = serve(near, "verifier", &rig.authors, &rig.ruling, &rig.held);
    let both = async {
        tokio::select! {
            ended = serving => panic!("{ended}"),
            () = verifier => {}
        }
    };
    timeout(PATIENCE, both).await.unwrap();
    let (hello, _) = rig.held.hello();
    assert_eq!(hello.in_force.map(|set| set.number), Some(number(3)));
    assert_eq!(hello.last_command, 7);
}
