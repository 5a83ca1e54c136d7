//! The PIN: from a file, or typed at the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use cryptoki::types::AuthPin;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::secret::{self, SecretError};

/// What logs in at a token. Kept for logging in again, wiped at the end.
#[derive(Debug)]
pub struct Pin(AuthPin);

/// There is no PIN.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Its file cannot be used.
    #[error("PIN file {0}")]
    Secret(#[from] SecretError),
    /// It is no text.
    #[error("the PIN is no UTF-8 text")]
    Text,
    /// There is no terminal to ask at.
    #[error("the PIN cannot be asked for at the terminal: {0}; configure `pin: {{file: …}}`")]
    Terminal(#[from] io::Error),
}

impl Pin {
    /// From a file of mode 0600; an end of line is no part of it.
    pub fn from_file(path: &Path) -> Result<Self, PinError> {
        Self::new(&secret::read(path)?)
    }

    /// Asks at the terminal, without showing what is typed.
    pub fn ask(token: &str) -> Result<Self, PinError> {
        let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let typed = read_unseen(&terminal, &format!("PIN of token {token}: "));
        writeln!(terminal)?;
        Self::new(&typed?)
    }

    pub(super) const fn get(&self) -> &AuthPin {
        &self.0
    }

    fn new(bytes: &[u8]) -> Result<Self, PinError> {
        let text = std::str::from_utf8(bytes).map_err(|_| PinError::Text)?;
        let text = text.trim_end_matches(['\r', '\n']);
        Ok(Self(AuthPin::from(Box::<str>::from(text))))
    }
}

/// Nothing is shown from before the prompt on: who sees it may type.
fn read_unseen(mut terminal: &File, prompt: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let before = tcgetattr(terminal)?;
    let mut unseen = before.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    tcsetattr(terminal, OptionalActions::Flush, &unseen)?;
    let mut line = Zeroizing::new(Vec::with_capacity(256));
    // Byte by byte: a buffer would not be wiped.
    let read = (terminal.write_all(prompt.as_bytes()))
        .and_then(|()| BufReader::with_capacity(1, terminal).read_until(b'\n', &mut line));
    tcsetattr(terminal, OptionalActions::Flush, &before)?;
    read?;
    Ok(line)
}
