//! Serving one guest's API on its Unix socket, against guests that flood, stall or never finish.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use crate::daemon::Guest;
use crate::socket;

/// Connections of one guest at once; a further one is closed at once.
const MAX_CONNECTIONS: usize = 32;
/// How long a request's head may take to arrive.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long one connection may last: longer than any attestation, so that no slow body can hold a place.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(120);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;

/// Binds the socket of `guest` and serves its API until dropped.
pub fn serve(guest: Arc<Guest>, path: &Path) -> std::io::Result<impl Future<Output = ()> + use<>> {
    let listener = socket::bind(path)?;
    Ok(async move {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors: let some connection end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            if !guest.admits(&stream) {
                continue;
            }
            let connection = connection(stream, Arc::clone(&guest));
            tokio::spawn(async move {
                // An error here is the guest's own doing: it stalled, reset or sent garbage.
                tokio::time::timeout(CONNECTION_DEADLINE, connection)
                    .await
                    .ok();
                drop(place);
            });
        }
    })
}

async fn connection(stream: UnixStream, guest: Arc<Guest>) -> hyper::Result<()> {
    let service = TowerToHyperService::new(super::router(guest));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
