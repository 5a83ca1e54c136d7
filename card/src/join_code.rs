//! Reading the join code: from standard input, since arguments and environment of a process can be read by others.

use std::io::{BufRead, IsTerminal};

/// Longest line that is read, in bytes; a code has 43.
const MAX_LINE: u64 = 1024;

/// There is no join code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinCodeError {
    /// It cannot be read.
    #[error("the join code cannot be read from standard input: {0}")]
    Unreadable(#[from] std::io::Error),
    /// There is none.
    #[error(
        "no join code on standard input; make one with `bartizan host join-code` and hand it over as `<FILE`"
    )]
    Missing,
    /// The line is none.
    #[error("the first line of standard input is no join code")]
    Malformed,
}

/// Reads one line. A terminal is asked for it.
pub(crate) fn read(input: impl BufRead + IsTerminal) -> Result<String, JoinCodeError> {
    if input.is_terminal() {
        eprint!("join code: ");
    }
    read_line(input)
}

fn read_line(input: impl BufRead) -> Result<String, JoinCodeError> {
    let mut line = Vec::new();
    input.take(MAX_LINE).read_until(b'\n', &mut line)?;
    let code = line.trim_ascii();
    if code.is_empty() {
        return Err(JoinCodeError::Missing);
    }
    // Base64url without padding (RFC 4648 section 5).
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    match std::str::from_utf8(code) {
        Ok(text) if (line.len() as u64) < MAX_LINE && code.iter().all(plain) => Ok(text.to_owned()),
        _ => Err(JoinCodeError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_a_code() {
        for input in ["-abc_DEF1", "-abc_DEF1\n", " -abc_DEF1 \r\nrest of it"] {
            assert_eq!(read_line(input.as_bytes()).unwrap(), "-abc_DEF1");
        }
    }

    #[test]
    fn nothing_and_what_is_no_code_are_told_apart() {
        for input in ["", "\n", "  \nabc"] {
            assert!(matches!(
                read_line(input.as_bytes()),
                Err(JoinCodeError::Missing)
            ));
        }
        let endless = std::io::BufReader::new(std::io::repeat(b'a'));
        assert!(matches!(read_line(endless), Err(JoinCodeError::Malformed)));
        for input in [&b"a code"[..], b"\xff\xfe", b"a=b"] {
            assert!(matches!(read_line(input), Err(JoinCodeError::Malformed)));
        }
    }
}
