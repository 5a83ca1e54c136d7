//! The verifier's end.
//!
//! ```text
//!   request ─accept─► response, to be sent
//!                  └► Opening ─hello─► Hello, UpReceiver; DownSender
//! ```
//!
//! Who is at the other end, and how long it may be silent, is the caller's to judge.

use std::future::{Ready, ready};

use hyper::body::Body as HttpBody;
use hyper::server::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService};
use tonic::{Code, Status, Streaming};

use crate::codec::Codec;
use crate::error::StreamError;
use crate::http2 as settings;
use crate::limits::{MAX_DOWN, MAX_UP};
use crate::message::{Down, Hello, Said, Up};

/// Messages that wait to be sent.
const WAITING: usize = 16;

/// A stream of which nothing was read yet.
#[derive(Debug)]
pub struct Opening {
    up: Streaming<Said>,
    down: DownSender,
}

/// What the enclave says after its hello.
#[derive(Debug)]
pub struct UpReceiver(Streaming<Said>);

/// Sends to the enclave. The stream ends when it is dropped.
#[derive(Debug)]
pub struct DownSender(mpsc::Sender<Result<Down, Status>>);

/// HTTP/2 for connections of enclaves: one stream each, pings, and bounds.
///
/// Known attacks: *many streams opened and reset at once* (CVE-2023-44487) and *headers without end* (CVE-2024-27316): there is one
/// stream, its head is bounded, and hyper ends a connection that resets too often; *a reader that takes nothing*: it does not
/// answer pings either, since they wait behind what it does not take.
#[must_use]
pub fn connections() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(1)
        .max_pending_accept_reset_streams(4)
        .initial_stream_window_size(settings::WINDOW)
        .initial_connection_window_size(settings::WINDOW)
        .max_header_list_size(settings::MAX_HEAD)
        .max_send_buf_size(settings::SEND_BUFFER)
        .keep_alive_interval(settings::PING_EVERY)
        .keep_alive_timeout(settings::PING_PATIENCE);
    builder
}

/// Takes a request for the stream: the response is to be sent at once, what is said then goes over [`Opening`]. `None` if the request
/// is none for gRPC as it is spoken here; the response says so.
pub async fn accept<B>(request: Request<B>) -> (Response<Body>, Option<Opening>)
where
    B: HttpBody + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let (sender, waiting) = mpsc::channel(WAITING);
    let (taken, take) = oneshot::channel();
    let service = Take {
        taken: Some(taken),
        waiting: Some(waiting),
    };
    let response = Grpc::new(Codec::<Down, Said>::default())
        .max_decoding_message_size(MAX_UP)
        .max_encoding_message_size(MAX_DOWN)
        .streaming(service, request)
        .await;
    let opening = take.await.ok().map(|up| Opening {
        up,
        down: DownSender(sender),
    });
    (response, opening)
}

/// The response that refuses a request.
#[must_use]
pub fn refuse(code: Code, message: &str) -> Response<Body> {
    Status::new(code, message).into_http()
}

impl Opening {
    /// Waits for the enclave's hello.
    ///
    /// # Errors
    /// It says something else, or nothing any more.
    pub async fn hello(mut self) -> Result<(Hello, UpReceiver, DownSender), StreamError> {
        match self.up.message().await {
            Ok(Some(Said::Hello(hello))) => Ok((hello, UpReceiver(self.up), self.down)),
            Ok(Some(Said::Up(_))) => {
                let turn = StreamError::Turn {
                    found: "something else",
                    expected: "its hello",
                };
                self.down.end(Code::InvalidArgument, &turn.to_string());
                Err(turn)
            }
            Ok(None) => Err(StreamError::Closed),
            Err(status) => {
                let error = StreamError::from(status);
                self.down.end(Code::InvalidArgument, &error.to_string());
                Err(error)
            }
        }
    }
}

impl UpReceiver {
    /// The next message. Not lost where this future is dropped.
    ///
    /// # Errors
    /// The stream has ended, or must be.
    pub async fn next(&mut self) -> Result<Up, StreamError> {
        match self.0.message().await?.ok_or(StreamError::Closed)? {
            Said::Up(up) => Ok(up),
            Said::Hello(_) => Err(StreamError::Turn {
                found: "hello again",
                expected: "anything else",
            }),
        }
    }
}

impl DownSender {
    /// Sends a message, as soon as there is room for it.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn send(&self, down: Down) -> Result<(), StreamError> {
        let sent = self.0.send(Ok(down)).await;
        sent.map_err(|_| StreamError::Closed)
    }

    /// Ends the stream with a status, if there is room to say it: whoever takes nothing is told nothing.
    pub fn end(self, code: Code, message: &str) {
        let _full = self.0.try_send(Err(Status::new(code, message)));
    }
}

/// Hands over the reading end, and answers with the writing one.
struct Take {
    taken: Option<oneshot::Sender<Streaming<Said>>>,
    waiting: Option<mpsc::Receiver<Result<Down, Status>>>,
}

impl StreamingService<Said> for Take {
    type Response = Down;
    type ResponseStream = ReceiverStream<Result<Down, Status>>;
    type Future = Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Said>>) -> Self::Future {
        let (Some(taken), Some(waiting)) = (self.taken.take(), self.waiting.take()) else {
            return ready(Err(Status::internal("one stream a request")));
        };
        // Whoever accepts waits for it.
        let _waits = taken.send(request.into_inner());
        ready(Ok(tonic::Response::new(ReceiverStream::new(waiting))))
    }
}
