//! A host's enclave, as far as the verifier sees it.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

use bartizan_attestation::certificates::Usage;
use bartizan_attestation::csr::EphemeralKey;
use bartizan_channel::{Connector, Identity};
use bartizan_policy::PolicySet;
use bartizan_stream::client::{Connected, connect};
use bartizan_stream::message::{Down, GuestPolicies, HeldSet, Hello, Source, Span, Up};
use bartizan_stream::{Bytes, StreamError};
use http_body_util::channel::{Channel, Sender};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::fleet::{Authority, Wish};
use crate::host::Host;
use crate::process::{DEADLINE, client, identity};

/// Of an enclave that was never connected.
pub(crate) const NEW: Hello = Hello {
    source: Source([1; 16]),
    span: Span::empty(NonZeroU64::MIN),
    in_force: None,
    last_command: 0,
};

/// What an enclave of a host shows.
pub(crate) fn enclave_identity(host: &Host) -> Arc<Identity> {
    let key = EphemeralKey::generate().unwrap();
    let uri = format!("urn:bartizan:enclave:{}", host.card);
    let leaf = host
        .authority
        .issue(&Wish::new(Usage::EnclaveTls, uri), &key.public_key());
    identity(vec![leaf, host.authority.der.clone()], &key)
}

/// A client of the enclave's of a host.
pub(crate) fn enclave_client(fleet: &Authority, host: &Host) -> Connector {
    client(fleet, enclave_identity(host))
}

/// Opens the stream.
pub(crate) async fn open(
    connector: &Connector,
    address: SocketAddr,
    hello: Hello,
) -> Result<Connected, StreamError> {
    let opening = async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = connector.clone().with_http2();
        let stream = connector.connect("127.0.0.1", tcp).await.unwrap();
        assert!(bartizan_channel::speaks_http2(&stream));
        connect(stream, "127.0.0.1", hello).await
    };
    tokio::time::timeout(DEADLINE, opening).await.unwrap()
}

/// The next message, in time.
pub(crate) async fn next(connected: &mut Connected) -> Result<Down, StreamError> {
    tokio::time::timeout(DEADLINE, connected.down.next())
        .await
        .unwrap()
}

/// The next message, which is a set.
pub(crate) async fn next_set(connected: &mut Connected) -> (HeldSet, Vec<Vec<u8>>) {
    match next(connected).await.unwrap() {
        Down::PolicySet(set) => {
            let signed: Vec<_> = set.signed().iter().map(|signed| signed.to_vec()).collect();
            let digest = PolicySet::new(signed.clone()).digest();
            let number = set.number();
            (HeldSet { number, digest }, signed)
        }
        other => panic!("no set of policies: {other:?}"),
    }
}

/// Says that a set is in force.
pub(crate) async fn acknowledge(connected: &Connected, set: HeldSet) {
    let guests = GuestPolicies::default();
    let said = connected.up.send(Up::PolicyInForce { set, guests });
    said.await.unwrap();
}

/// An enclave that speaks HTTP/2 by itself, and badly.
pub(crate) struct RawEnclave {
    answer: hyper::Response<hyper::body::Incoming>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
    /// What it would go on with.
    _body: Sender<Bytes>,
}

impl RawEnclave {
    /// Sends one gRPC message, which need be none, and no more. So many bytes of the answer may be under way.
    pub(crate) async fn send(
        connector: &Connector,
        address: SocketAddr,
        message: &[u8],
        window: u32,
    ) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        let connector = connector.clone().with_http2();
        let stream = connector.connect("127.0.0.1", tcp).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (mut requests, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let (mut body, sending) = Channel::<Bytes>::new(2);
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let framed = [&[0], length.as_slice(), message].concat();
        let request = hyper::Request::post(format!("https://127.0.0.1{}", bartizan_stream::PATH))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(sending)
            .unwrap();
        body.send_data(framed.into()).await.unwrap();
        let answer = tokio::time::timeout(DEADLINE, requests.send_request(request)).await;
        Self {
            answer: answer.unwrap().unwrap(),
            connection,
            _body: body,
        }
    }

    /// Reads to the end of the answer; what it says then of how it ended.
    pub(crate) async fn status(self) -> String {
        let reading = http_body_util::BodyExt::collect(self.answer.into_body());
        let read = tokio::time::timeout(DEADLINE, reading)
            .await
            .unwrap()
            .unwrap();
        let trailers = read.trailers().unwrap();
        trailers["grpc-status"].to_str().unwrap().into()
    }

    /// Reads nothing, until the connection is ended.
    pub(crate) async fn until_cut(self) {
        let ended = tokio::time::timeout(DEADLINE, self.connection).await;
        assert!(
            ended.is_ok(),
            "the verifier keeps a connection that only costs"
        );
        drop(self.answer);
    }
}
