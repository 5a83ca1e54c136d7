//! Both ends, over a pipe.

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::Code;

use crate::client::{Connected, connect};
use crate::limits::{MAX_EVIDENCE, MAX_SET};
use crate::message::{Down, Evidence, Hello, PolicySet, Source, Span, Up};
use crate::server::{self, DownSender, Opening, UpReceiver};
use crate::{Bytes, StreamError};

const ONE: NonZeroU64 = NonZeroU64::MIN;
const PATIENCE: Duration = Duration::from_secs(20);

const HELLO: Hello = Hello {
    source: Source([1; 16]),
    span: Span::empty(ONE),
    in_force: None,
    last_command: 0,
};

/// A verifier that takes one request and hands over what it opens.
fn serve(stream: DuplexStream) -> mpsc::Receiver<Option<Opening>> {
    let (opened, openings) = mpsc::channel(1);
    let service = service_fn(move |request| {
        let opened = opened.clone();
        async move {
            let (response, opening) = server::accept(request).await;
            let _ended = opened.send(opening).await;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = server::connections().serve_connection(TokioIo::new(stream), service);
    tokio::spawn(async move { drop(connection.await) });
    openings
}

async fn pair() -> (Connected, UpReceiver, DownSender) {
    let (near, far) = tokio::io::duplex(4096);
    let mut openings = serve(far);
    let accepting = async {
        let opening = openings.recv().await.unwrap().unwrap();
        let (hello, up, down) = opening.hello().await.unwrap();
        assert_eq!(hello, HELLO);
        down.send(Down::EvidenceKept(7)).await.unwrap();
        (up, down)
    };
    let both = async { tokio::join!(connect(near, "verifier", HELLO), accepting) };
    let (connected, (up, down)) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    (connected.unwrap(), up, down)
}

fn evidence(size: usize) -> Up {
    Up::Evidence(Evidence::new(ONE, Bytes::from(vec![3; size])).unwrap())
}

#[tokio::test]
async fn the_largest_messages_get_through_both_ways() {
    let (mut enclave, mut up, down) = pair().await;
    assert_eq!(enclave.kept, 7);
    let sent = evidence(MAX_EVIDENCE);
    enclave.up.send(sent.clone()).await.unwrap();
    assert_eq!(up.next().await.unwrap(), sent);
    let set = PolicySet::new(ONE, vec![Bytes::from(vec![5; MAX_SET])]).unwrap();
    down.send(Down::PolicySet(set.clone())).await.unwrap();
    assert_eq!(enclave.down.next().await.unwrap(), Down::PolicySet(set));
    drop(enclave);
    assert!(up.next().await.is_err());
}

#[tokio::test]
async fn the_enclave_is_told_why_a_stream_ends() {
    let (mut enclave, _up, down) = pair().await;
    down.end(Code::Aborted, "another stream of this card took its place");
    let error = enclave.down.next().await.unwrap_err();
    assert!(
        matches!(&error, StreamError::Ended { code: Code::Aborted, message } if message.contains("took its place")),
        "{error}"
    );
    assert!(!error.is_refusal());
}

#[tokio::test]
async fn a_second_hello_and_a_first_message_that_is_none_end_the_stream() {
    let (near, far) = tokio::io::duplex(4096);
    let mut openings = serve(far);
    let raw = crate::client::tests::send_raw(near, vec![evidence(1).into(), HELLO.into()]);
    let (answer, opening) = tokio::join!(raw, async {
        openings.recv().await.unwrap().unwrap().hello().await
    });
    assert!(matches!(opening, Err(StreamError::Turn { .. })));
    assert!(answer.unwrap_err().is_refusal());

    let (near, far) = tokio::io::duplex(4096);
    let mut openings = serve(far);
    let raw = crate::client::tests::send_raw(near, vec![HELLO.into(), HELLO.into()]);
    let (_, second) = tokio::join!(raw, async {
        let opening = openings.recv().await.unwrap().unwrap();
        let (_, mut up, _down) = opening.hello().await.unwrap();
        up.next().await
    });
    assert!(matches!(second, Err(StreamError::Turn { .. })));
}

#[tokio::test]
async fn a_refusal_reaches_who_connects() {
    let (near, far) = tokio::io::duplex(4096);
    let service = service_fn(|_request| async {
        let refusal = server::refuse(Code::PermissionDenied, "card 00 is revoked");
        Ok::<_, Infallible>(refusal)
    });
    let connection = server::connections().serve_connection(TokioIo::new(far), service);
    tokio::spawn(async move { drop(connection.await) });
    let error = connect(near, "verifier", HELLO).await.unwrap_err();
    assert!(error.is_refusal(), "{error}");
    assert!(error.to_string().contains("card 00 is revoked"), "{error}");
}

#[tokio::test]
async fn what_is_no_grpc_is_answered_and_opens_nothing() {
    let request = hyper::Request::builder()
        .header("grpc-encoding", "gzip")
        .body(tonic::body::Body::empty())
        .unwrap();
    let (response, opening) = server::accept(request).await;
    assert!(opening.is_none());
    assert_eq!(response.headers()["grpc-status"], "12");
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_which_nobody_says_anything_stays_open() {
    let (mut enclave, mut up, _down) = pair().await;
    let silence = async { tokio::join!(enclave.down.next(), up.next()) };
    let waited = tokio::time::timeout(Duration::from_secs(3600), silence).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_without_a_word_is_found_out() {
    let (near, mut far_side) = tokio::io::duplex(4096);
    let (mut near_side, far) = tokio::io::duplex(4096);
    let (gone, mut go) = tokio::sync::oneshot::channel();
    // What is between holds both ends, and moves nothing any more.
    tokio::spawn(async move {
        let moving = tokio::io::copy_bidirectional(&mut far_side, &mut near_side);
        tokio::select! {
            _ = moving => {}
            _ = &mut go => std::future::pending().await,
        }
    });
    let mut openings = serve(far);
    let (connected, (mut up, _down)) = tokio::join!(connect(near, "verifier", HELLO), async {
        let opening = openings.recv().await.unwrap().unwrap();
        let (_, up, down) = opening.hello().await.unwrap();
        down.send(Down::EvidenceKept(0)).await.unwrap();
        (up, down)
    });
    let mut connected = connected.unwrap();
    gone.send(()).unwrap();
    let both = async { tokio::join!(connected.down.next(), up.next()) };
    let (near, far) = tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .unwrap();
    assert!(near.is_err() && far.is_err());
}
