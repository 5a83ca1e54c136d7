//! HTTP/1.1 requests over the channel.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::binding::channel_binding;
use crate::connector::Connector;
use crate::error::ChannelError;

/// Where a server is, and by which name it is certified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Host name or IP address to connect to.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The name that its certificate must carry.
    pub server_name: String,
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The method, for example `POST`.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// The body: JSON, or empty, where it is not said to be something else ([`upload`]).
    pub body: Vec<u8>,
}

/// A response, whatever its status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Media types of bodies.
const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";

/// An open connection that is used for one request after another.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    server_name: String,
    binding: [u8; 32],
    /// Whether the server has said that it answers no more.
    last: bool,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects and performs the handshake.
    pub async fn open(
        connector: &Connector,
        to: &Endpoint,
        deadline: Duration,
    ) -> Result<Self, ChannelError> {
        let opening = async {
            let stream = TcpStream::connect((to.host.as_str(), to.port)).await;
            let stream = stream.map_err(ChannelError::Connect)?;
            stream.set_nodelay(true).map_err(ChannelError::Connect)?;
            let stream = connector.connect(&to.server_name, stream).await?;
            let binding = channel_binding(&stream)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // Its error reaches the request that is under way.
            let driver = tokio::spawn(async move { drop(connection.await) });
            Ok(Self {
                sender,
                server_name: to.server_name.clone(),
                binding,
                last: false,
                driver,
            })
        };
        let opened = tokio::time::timeout(deadline, opening).await;
        // Nothing was asked yet.
        opened.map_err(|_| ChannelError::Connect(ErrorKind::TimedOut.into()))?
    }

    /// What both ends of this connection have and nobody else ([`channel_binding`]).
    #[must_use]
    pub const fn binding(&self) -> &[u8; 32] {
        &self.binding
    }

    /// Whether the server has closed it, or said that it will (RFC 9112 section 9.6): that may be known before its end is.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.last || self.sender.is_closed()
    }

    /// Sends a request and reads the whole answer, of at most `limit` bytes. After an error, or when this future was
    /// dropped, the connection is of no use any more.
    pub async fn send(
        &mut self,
        request: Request,
        limit: usize,
        deadline: Duration,
    ) -> Result<Response, ChannelError> {
        self.send_as(JSON, request, limit, deadline).await
    }

    async fn send_as(
        &mut self,
        media_type: &'static str,
        request: Request,
        limit: usize,
        deadline: Duration,
    ) -> Result<Response, ChannelError> {
        let exchange = async {
            self.sender.ready().await?;
            let request = hyper::Request::builder()
                .method(request.method)
                .uri(request.path)
                .header(HOST, &self.server_name)
                .header(CONTENT_TYPE, media_type)
                .body(Full::from(request.body))?;
            let response = self.sender.send_request(request).await?;
            self.last |= says_close(response.headers());
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), limit).collect().await;
            let body = body.map_err(|error| too_large_or_broken(error, limit))?;
            Ok(Response {
                status,
                body: body.to_bytes().into(),
            })
        };
        let answered = tokio::time::timeout(deadline, exchange).await;
        answered.map_err(|_| ChannelError::TimedOut)?
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One request on a connection of its own.
pub async fn request(
    connector: &Connector,
    to: &Endpoint,
    request: Request,
    limit: usize,
    deadline: Duration,
) -> Result<Response, ChannelError> {
    exchange(JSON, connector, to, request, limit, deadline).await
}

/// The same with a body that is bytes (`application/octet-stream`).
pub async fn upload(
    connector: &Connector,
    to: &Endpoint,
    request: Request,
    limit: usize,
    deadline: Duration,
) -> Result<Response, ChannelError> {
    exchange(OCTETS, connector, to, request, limit, deadline).await
}

async fn exchange(
    media_type: &'static str,
    connector: &Connector,
    to: &Endpoint,
    request: Request,
    limit: usize,
    deadline: Duration,
) -> Result<Response, ChannelError> {
    let end = Instant::now() + deadline;
    let mut connection = Connection::open(connector, to, deadline).await?;
    let left = end.saturating_duration_since(Instant::now());
    connection.send_as(media_type, request, limit, left).await
}

fn says_close(headers: &HeaderMap) -> bool {
    let options = headers.get_all(CONNECTION).into_iter();
    let mut options = options.filter_map(|value| value.to_str().ok());
    options.any(|value| {
        let mut options = value.split(',').map(str::trim);
        options.any(|option| option.eq_ignore_ascii_case("close"))
    })
}

fn too_large_or_broken(
    error: Box<dyn std::error::Error + Send + Sync>,
    limit: usize,
) -> ChannelError {
    if error.is::<LengthLimitError>() {
        return ChannelError::TooLarge { limit };
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => ChannelError::Http(*error),
        Err(error) => ChannelError::Connect(std::io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_in_many_ways_that_it_closes() {
        let said = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONNECTION, value.parse().unwrap());
            }
            says_close(&headers)
        };
        for closes in [&["close"][..], &["Close"], &["x, close"], &["x", "close"]] {
            assert!(said(closes), "{closes:?}");
        }
        for goes_on in [&[][..], &["keep-alive"], &["closer"], &[""]] {
            assert!(!said(goes_on), "{goes_on:?}");
        }
    }
}
