//! The smallest HTTP/1.1 client (RFC 9112) that the guest API needs: one request and one response a
//! connection, bounded. Parsing of the head is `httparse`'s.

use std::io::{self, Read, Write};

/// Most header fields of a response.
const MAX_HEADERS: usize = 32;

/// A response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Response {
    /// Status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// The exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection failed or timed out.
    #[error("the connection to the host failed: {0}")]
    Io(#[from] io::Error),
    /// More than allowed came back.
    #[error("the host's answer exceeds {0} bytes")]
    TooLarge(u64),
    /// What came back is no HTTP response.
    #[error("the host's answer is no HTTP response: {0}")]
    Malformed(#[from] httparse::Error),
    /// The head or body ended early.
    #[error("the host's answer ended early")]
    Truncated,
}

/// Sends one request and reads the whole answer of at most `limit` bytes.
pub(crate) fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
    limit: u64,
) -> Result<Response, HttpError> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: bartizan\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.take(limit + 1).read_to_end(&mut answer)?;
    if answer.len() as u64 > limit {
        return Err(HttpError::TooLarge(limit));
    }
    parse(&answer)
}

/// Parses a whole response whose end is the end of the connection or its content-length.
pub(crate) fn parse(answer: &[u8]) -> Result<Response, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(answer)? else {
        return Err(HttpError::Truncated);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| {
            std::str::from_utf8(header.value)
                .ok()?
                .parse::<usize>()
                .ok()
        });
    let body = answer.get(head..).unwrap_or_default();
    let body = match length {
        Some(length) => body.get(..length).ok_or(HttpError::Truncated)?,
        None => body,
    };
    Ok(Response {
        status: response.code.unwrap_or(0),
        body: body.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_shorter_than_announced_is_refused() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(
            parse(whole).unwrap(),
            Response {
                status: 200,
                body: b"hi".to_vec()
            }
        );
        assert!(matches!(
            parse(&whole[..whole.len() - 1]),
            Err(HttpError::Truncated)
        ));
        assert!(matches!(parse(&whole[..20]), Err(HttpError::Truncated)));
    }

    #[test]
    fn an_answer_over_the_limit_is_refused() {
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'a');
                Ok(buffer.len())
            }
        }
        impl Write for Endless {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let refused = exchange(&mut Endless, "GET", "/", "text/plain", b"", 1000);
        assert!(matches!(refused, Err(HttpError::TooLarge(1000))));
    }
}
