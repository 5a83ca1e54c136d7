//! The bytes between a port and the socket that it leads to: connections come when the enclave opens them, and go with either end.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bartizan_local::aio;
use bartizan_local::port::stream::{Connection, Port};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::owed::Owed;

/// How long an end may take nothing of what waits for it: as long as the enclave waits for an answer of the verifier's. While one does, the
/// port is not read, and the enclave cannot say that it has given the link up.
const TAKES_NOTHING: Duration = Duration::from_secs(20);

/// Serves one port, until the machine has ended or speaks another protocol. `turned` hears whether a
/// connection is open, at its begin, and at its end; `owed` whether the machine owes an answer.
pub async fn serve(
    name: &'static str,
    port: UnixStream,
    to: &Path,
    owed: &Owed,
    mut turned: impl FnMut(bool),
) -> io::Error {
    let mut port = Port::answering(port);
    loop {
        let mut connection = match port.accept().await {
            Ok(connection) => Heeded { connection, owed },
            Err(error) => return error,
        };
        owed.heard();
        turned(true);
        match UnixStream::connect(to).await {
            // How it ended is the two ends' matter.
            Ok(mut socket) => {
                aio::until_either_ends(&mut connection, &mut socket, TAKES_NOTHING).await;
            }
            Err(error) => tracing::debug!(link = name, %error, "nobody is there"),
        }
        owed.ended();
        turned(false);
    }
}

/// A connection of the machine's, of which is noted when it was spoken to and when it spoke.
struct Heeded<'o> {
    connection: Connection<UnixStream>,
    owed: &'o Owed,
}

impl AsyncRead for Heeded<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.connection).poll_read(context, into);
        match polled {
            Poll::Pending => self.owed.listens(),
            Poll::Ready(_) => self.owed.heard(),
        }
        polled
    }
}

impl AsyncWrite for Heeded<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.owed.told();
        Pin::new(&mut self.connection).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// Known attack: whoever has one of the sockets takes nothing, and the enclave never gets another link over that port.
    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_holds_a_port_up_for_a_while_only() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("verifier.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (inside, outside) = UnixStream::pair().unwrap();
        tokio::spawn(
            async move { serve("verifier", outside, &socket, &Owed::default(), |_| ()).await },
        );
        let mut port = Port::opening(inside);
        let connection = port.open().await.unwrap();
        let (silent, _) = listener.accept().await.unwrap();
        let (mut hearing, mut speaking) = tokio::io::split(connection);
        // Beyond what any socket holds, until the enclave hears that the link is at its end.
        let speaks = async { while speaking.write_all(&[7; 1 << 16]).await.is_ok() {} };
        let mut piece = [0];
        tokio::select! {
            heard = hearing.read(&mut piece) => assert_eq!(heard.unwrap(), 0),
            () = speaks => {}
        }
        drop((hearing, speaking));
        let mut connection = port.open().await.unwrap();
        let (mut taking, _) = listener.accept().await.unwrap();
        connection.write_all(b"two").await.unwrap();
        let mut heard = [0; 3];
        taking.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"two");
        drop(silent);
    }

    #[tokio::test]
    async fn each_connection_is_one_of_its_own_and_nobody_there_is_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("card.sock");
        let (inside, outside) = UnixStream::pair().unwrap();
        let path = socket.clone();
        let serving =
            tokio::spawn(
                async move { serve("card", outside, &path, &Owed::default(), |_| ()).await },
            );
        let mut port = Port::opening(inside);
        let mut connection = port.open().await.unwrap();
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
        let listener = UnixListener::bind(&socket).unwrap();
        for said in [b"one", b"two"] {
            let mut connection = port.open().await.unwrap();
            connection.write_all(said).await.unwrap();
            let (mut card, _) = listener.accept().await.unwrap();
            let mut heard = [0; 3];
            card.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, said);
            card.write_all(b"!").await.unwrap();
            drop(card);
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"!");
        }
        drop((connection, port));
        let ended = serving.await.unwrap();
        assert_eq!(ended.kind(), io::ErrorKind::BrokenPipe);
    }
}
