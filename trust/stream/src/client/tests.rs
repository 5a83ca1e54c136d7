//! A client that says what none should.

use super::*;

impl From<Up> for Said {
    fn from(up: Up) -> Self {
        Self::Up(up)
    }
}

impl From<Hello> for Said {
    fn from(hello: Hello) -> Self {
        Self::Hello(hello)
    }
}

/// Sends messages as they are, and waits for the end of the answer.
pub(crate) async fn send_raw<S>(stream: S, messages: Vec<Said>) -> Result<(), StreamError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = http2::Builder::new(TokioExecutor::new());
    let (requests, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let _driver = Driver(Some(tokio::spawn(async move { drop(connection.await) })));
    let (sender, waiting) = mpsc::channel(messages.len());
    for message in messages {
        let _room = sender.send(message).await;
    }
    let mut grpc = Grpc::with_origin(Http2(requests), Uri::from_static("https://verifier"));
    grpc.ready().await?;
    let request = Request::new(ReceiverStream::new(waiting));
    let path = PathAndQuery::from_static(PATH);
    let codec = Codec::<Said, Down>::default();
    let mut down = grpc.streaming(request, path, codec).await?.into_inner();
    while down.message().await?.is_some() {}
    drop(sender);
    Ok(())
}
