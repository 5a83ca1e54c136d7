//! The enclave's end.
//!
//! ```text
//!   stream over TLS ─connect─► Connected: kept up to …, UpSender, DownReceiver ─any error─► wait (Backoff), connect anew
//! ```
//!
//! Deadlines for connecting are the caller's. A peer that is silent is found out by HTTP/2's pings.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::client::conn::http2::{self, SendRequest};
use hyper::http::Uri;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Request, Streaming};

use crate::codec::Codec;
use crate::error::StreamError;
use crate::limits::{MAX_DOWN, MAX_UP};
use crate::message::{Down, Hello, Said, Up};
use crate::{PATH, http2 as settings};

/// Messages that wait to be sent.
const WAITING: usize = 16;

/// An open stream.
#[derive(Debug)]
pub struct Connected {
    /// All evidence up to this number is durable at the verifier: [`Outbox::resume`](crate::resume::Outbox::resume) takes it.
    pub kept: u64,
    /// Whereby the verifier is told.
    pub up: UpSender,
    /// What it says.
    pub down: DownReceiver,
}

/// Sends to the verifier. The stream ends when its last clone is gone.
#[derive(Clone, Debug)]
pub struct UpSender(mpsc::Sender<Said>);

/// Receives from the verifier. The connection ends when it is dropped.
#[derive(Debug)]
pub struct DownReceiver {
    down: Streaming<Down>,
    driver: JoinHandle<()>,
}

/// Opens the stream over a connection to the verifier of this name, and says where it is to go on.
///
/// # Errors
/// The verifier refuses it, says something else than what is due first, or the connection fails.
pub async fn connect<S>(stream: S, name: &str, hello: Hello) -> Result<Connected, StreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wrong_name = || StreamError::Name(name.into());
    let origin = Uri::builder()
        .scheme("https")
        .authority(name)
        .path_and_query("/");
    let origin = origin.build().map_err(|_| wrong_name())?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(settings::WINDOW)
        .initial_connection_window_size(settings::WINDOW)
        .max_header_list_size(settings::MAX_HEAD)
        .max_send_buf_size(settings::SEND_BUFFER)
        .keep_alive_interval(settings::PING_EVERY)
        .keep_alive_timeout(settings::PING_PATIENCE)
        .keep_alive_while_idle(true);
    let (requests, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // Its error reaches the stream that it carries.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let driver = Driver(Some(driver));
    let (sender, waiting) = mpsc::channel(WAITING);
    sender
        .send(Said::Hello(hello))
        .await
        .map_err(|_| StreamError::Closed)?;
    let mut grpc = Grpc::with_origin(Http2(requests), origin)
        .max_decoding_message_size(MAX_DOWN)
        .max_encoding_message_size(MAX_UP);
    grpc.ready().await?;
    let request = Request::new(ReceiverStream::new(waiting));
    let path = PathAndQuery::from_static(PATH);
    let codec = Codec::<Said, Down>::default();
    let down = grpc.streaming(request, path, codec).await?.into_inner();
    let mut down = DownReceiver {
        down,
        driver: driver.keep(),
    };
    match down.next().await? {
        Down::EvidenceKept(kept) => Ok(Connected {
            kept,
            up: UpSender(sender),
            down,
        }),
        _ => Err(StreamError::Turn {
            found: "something else",
            expected: "what evidence is kept",
        }),
    }
}

impl UpSender {
    /// Sends a message, as soon as there is room for it.
    ///
    /// # Errors
    /// The stream has ended; [`DownReceiver::next`] says why.
    pub async fn send(&self, up: Up) -> Result<(), StreamError> {
        let sent = self.0.send(Said::Up(up)).await;
        sent.map_err(|_| StreamError::Closed)
    }
}

impl DownReceiver {
    /// The next message.
    ///
    /// # Errors
    /// The stream has ended. It does so for good.
    pub async fn next(&mut self) -> Result<Down, StreamError> {
        self.down.message().await?.ok_or(StreamError::Closed)
    }
}

impl Drop for DownReceiver {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Ends the connection of a stream that did not come to be.
struct Driver(Option<JoinHandle<()>>);

impl Driver {
    fn keep(mut self) -> JoinHandle<()> {
        // INVARIANT: taken here alone, and this takes `self`.
        self.0.take().unwrap_or_else(|| tokio::spawn(async {}))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(driver) = &self.0 {
            driver.abort();
        }
    }
}

/// tonic's view of an HTTP/2 connection.
struct Http2(SendRequest<Body>);

impl tower::Service<hyper::Request<Body>> for Http2 {
    type Response = hyper::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

#[cfg(test)]
pub(crate) mod tests;
