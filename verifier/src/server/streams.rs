//! HTTP/2: the streams of enclaves, and nothing else.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bartizan_channel::TlsStream;
use bartizan_stream::{Code, PATH, server};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::cut::Cut;
use crate::peer::Peer;
use crate::service::Service;
use crate::streams;

/// Serves a connection of HTTP/2 until it ends, its stream has ended, or it never asks for one.
pub(super) async fn answer(
    service: Arc<Service>,
    stream: TlsStream<TcpStream>,
    from: SocketAddr,
    peer: Peer,
    ending: watch::Receiver<bool>,
) {
    let patience = Duration::from_secs(service.config.limits.head_s);
    let cut = Cut::default();
    let wanted = cut.clone();
    let asked = Arc::new(AtomicBool::new(false));
    let has_asked = Arc::clone(&asked);
    let mut until = ending.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (service, peer) = (Arc::clone(&service), peer.clone());
        let (cut, ending) = (cut.clone(), ending.clone());
        let first = !asked.swap(true, Ordering::Relaxed);
        async move {
            if request.method() != Method::POST || request.uri().path() != PATH {
                let what = "over HTTP/2 there is the stream of enclaves alone; the API is HTTP/1.1";
                return Ok::<_, Infallible>(server::refuse(Code::Unimplemented, what));
            }
            if !first {
                let what = "there is one stream a connection";
                return Ok(server::refuse(Code::FailedPrecondition, what));
            }
            let admitted = match streams::admit(&service, &peer).await {
                Ok(admitted) => admitted,
                Err(error) => {
                    tracing::info!(%from, %error, "stream refused");
                    return Ok(server::refuse(error.code(), &error.to_string()));
                }
            };
            let (response, opening) = server::accept(request).await;
            if let Some(opening) = opening {
                let who = (peer, admitted);
                tokio::spawn(streams::converse(service, who, opening, cut, ending));
            }
            Ok(response)
        }
    });
    let connection = server::connections().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let idle = async {
        tokio::time::sleep(patience).await;
        if has_asked.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    };
    let finished = tokio::select! {
        done = connection.as_mut() => Some(done),
        () = idle => return,
        () = wanted.wanted() => return,
        _ = until.wait_for(|ending| *ending) => None,
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
