//! A shell at a guest's serial port: for machines in which nothing of Bartizan is.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a boot, or one command, may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Most that is read of one command.
const MOST: usize = 1 << 20;

/// A shell, once it answers.
#[derive(Debug)]
pub(super) struct Terminal {
    stream: UnixStream,
    /// What was read beyond the last answer.
    left: Vec<u8>,
}

impl Terminal {
    /// Waits for the shell that is a machine's first process.
    pub(super) fn wait(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut terminal = Self {
            stream,
            left: Vec::new(),
        };
        // Its prompt is the last that the console says by itself.
        terminal.until("# ").context("the guest's shell")?;
        // What is written is no more shown; nor is the prompt.
        terminal.write("stty -echo; PS1=; echo \"silent: $((40+2))\"")?;
        terminal.until("silent: 42\r\n")?;
        Ok(terminal)
    }

    /// Runs a command that succeeds; returns what it printed.
    pub(super) fn must(&mut self, command: &str) -> Result<String> {
        self.write(&format!("{command}; echo \"ended: $?.\""))?;
        let printed = self.until("ended: ")?;
        let code = self.until(".\r\n")?;
        if code != "0" {
            bail!("in the guest, `{command}`: code {code}, {printed}");
        }
        Ok(printed.replace('\r', ""))
    }

    fn write(&mut self, line: &str) -> Result<()> {
        self.stream.write_all(line.as_bytes())?;
        Ok(self.stream.write_all(b"\n")?)
    }

    /// What comes before these words, which are taken with it.
    fn until(&mut self, end: &str) -> Result<String> {
        let mut buffer = [0; 4096];
        loop {
            let mut all = self.left.windows(end.len());
            if let Some(at) = all.position(|part| part == end.as_bytes()) {
                let rest = self.left.split_off(at + end.len());
                let mut before = std::mem::replace(&mut self.left, rest);
                before.truncate(at);
                return Ok(String::from_utf8_lossy(&before).into_owned());
            }
            let shown = || String::from_utf8_lossy(&self.left).into_owned();
            let size = match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the machine ended: {}", shown()),
                Ok(size) => size,
                Err(error) => bail!("waiting for `{end}`: {error}: {}", shown()),
            };
            self.left.extend(buffer.iter().take(size));
            if self.left.len() > MOST {
                bail!("the machine says too much");
            }
        }
    }
}
