//! Connections: accepted within bounds, through TLS, to the API.
//!
//! Against clients that only cost: places are bounded, altogether and per client, for connections whose
//! client is not known yet, for hosts, for operators and for strangers apart; handshake, head, body,
//! request and connection each have a deadline; a connection that is refused costs one accept.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use bartizan_channel::{TlsStream, channel_binding, speaks_http2};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::api::Origin;
use crate::clock::now_s;
use crate::config::Limits;
use crate::cut::Cut;
use crate::payer::Payer;
use crate::peer::{ChannelBinding, Peer};
use crate::service::Service;

mod admission;
mod streams;

use admission::{Admission, Place};

/// How long connections may take to finish what they are at when the service ends.
const FAREWELL: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which is for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);
/// Bytes of a request's head, and of what is read ahead.
const MAX_HEAD: usize = 32 << 10;
/// Header fields of a request.
const MAX_HEADERS: usize = 64;
/// Streams of one host's enclave: the one that is open, one that takes its place, and one that has not ended yet.
const STREAMS_PER_HOST: usize = 3;

/// The serving side.
#[derive(Clone)]
pub struct Server {
    service: Arc<Service>,
    router: Router,
    gates: Gates,
    ending: watch::Receiver<bool>,
}

/// The places for connections, each kind's own.
#[derive(Clone)]
struct Gates {
    /// Until it is known who it is.
    handshakes: Admission,
    hosts: Admission,
    operators: Admission,
    strangers: Admission,
    /// Enclaves' own.
    streams: Admission,
}

impl Gates {
    fn new(limits: &Limits) -> Self {
        Self {
            handshakes: Admission::new(limits.handshakes, limits.handshakes_per_address),
            hosts: Admission::new(limits.connections, limits.connections_per_host),
            operators: Admission::new(limits.operator_connections, limits.connections_per_operator),
            strangers: Admission::new(limits.stranger_connections, limits.connections_per_address),
            streams: Admission::new(limits.streams, STREAMS_PER_HOST),
        }
    }

    const fn of(&self, peer: &Peer, payer: &Payer) -> &Admission {
        if matches!(peer, Peer::Enclave { .. }) {
            return &self.streams;
        }
        match payer {
            Payer::Host(_) => &self.hosts,
            Payer::Operator(_) => &self.operators,
            Payer::Network(_) => &self.strangers,
        }
    }
}

impl Server {
    /// A server of the API; it ends when `ending` becomes true or its sender is gone.
    #[must_use]
    pub fn new(service: Arc<Service>, ending: watch::Receiver<bool>) -> Self {
        Self {
            router: crate::api::router(Arc::clone(&service)),
            gates: Gates::new(&service.config.limits),
            service,
            ending,
        }
    }

    /// Serves a listener until the end; returns when its connections are done, or were given up.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut ending = self.ending.clone();
        loop {
            let accepted = tokio::select! {
                _ = ending.wait_for(|ending| *ending) => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    self.service.metrics.connected();
                    match self.gates.handshakes.admit(Payer::network(from.ip())) {
                        Some(place) => {
                            connections.spawn(self.clone().converse(stream, from, place));
                        }
                        None => self.service.metrics.refused_connection(),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        drop(listener);
        let all_done = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all_done).await.is_err() {
            tracing::warn!("connections were cut off");
        }
    }

    async fn converse(self, stream: TcpStream, from: SocketAddr, entrance: Place) {
        // Answers are small; waiting for more to send would only delay them.
        let _best_effort = stream.set_nodelay(true);
        let deadline = Duration::from_secs(self.service.config.limits.handshake_s);
        let acceptor = self.service.tls.acceptor();
        let handshake = tokio::time::timeout(deadline, acceptor.accept(stream));
        let accepted = tokio::select! {
            accepted = handshake => accepted,
            () = entrance.displaced() => {
                self.service.metrics.refused_connection();
                return;
            }
        };
        match accepted {
            Ok(Ok((stream, chain))) => {
                let binding = match channel_binding(&stream) {
                    Ok(binding) => ChannelBinding(binding),
                    Err(error) => {
                        tracing::error!(%from, %error, "a connection has no binding");
                        return;
                    }
                };
                let peer = Peer::identify(chain.as_deref(), &self.service.anchors.ca(), now_s());
                let payer = Payer::of(&peer, from.ip());
                let Some(place) = self.gates.of(&peer, &payer).admit(payer.clone()) else {
                    self.service.metrics.refused_connection();
                    tracing::info!(%from, ?payer, "a client has too many connections");
                    return;
                };
                drop(entrance);
                let service = Arc::clone(&self.service);
                let answering = async {
                    if speaks_http2(&stream) {
                        let (service, ending) = (self.service, self.ending);
                        streams::answer(service, stream, from, peer, ending).await;
                    } else {
                        self.answer(stream, from, (peer, binding), payer).await;
                    }
                };
                tokio::select! {
                    () = answering => {}
                    () = place.displaced() => service.metrics.refused_connection(),
                }
            }
            Ok(Err(error)) => {
                self.service.metrics.failed_handshake();
                tracing::info!(%from, %error, "TLS handshake failed");
            }
            Err(_) => {
                self.service.metrics.failed_handshake();
                tracing::info!(%from, "TLS handshake took too long");
            }
        }
    }

    async fn answer(
        self,
        stream: TlsStream<TcpStream>,
        from: SocketAddr,
        (peer, binding): (Peer, ChannelBinding),
        payer: Payer,
    ) {
        let limits = self.service.config.limits;
        let old = Instant::now() + Duration::from_secs(limits.connection_s);
        let router = self.router;
        let cut = Cut::default();
        let wanted = cut.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(binding);
            request.extensions_mut().insert(payer.clone());
            request.extensions_mut().insert(Origin(from));
            request.extensions_mut().insert(cut.clone());
            let router = router.clone();
            async move {
                let mut response = router.oneshot(request).await?;
                if Instant::now() >= old {
                    // Said in an answer, so that no request is lost to a connection that closes.
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(limits.head_s))
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        // What is still there after this does not read its answers.
        let last = old + Duration::from_secs(limits.head_s) + limits.longest_request();
        let mut connection = std::pin::pin!(connection);
        let mut ending = self.ending;
        let finished = tokio::select! {
            done = connection.as_mut() => Some(done),
            () = tokio::time::sleep_until(last) => return,
            () = wanted.wanted() => return,
            _ = ending.wait_for(|ending| *ending) => None,
        };
        let finished = match finished {
            Some(done) => done,
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    done = connection => done,
                    () = wanted.wanted() => return,
                }
            }
        };
        if let Err(error) = finished {
            tracing::debug!(%from, %error, "connection ended");
        }
    }
}
