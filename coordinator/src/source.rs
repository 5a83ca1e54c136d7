//! From where the first stage takes its bundle, and what it does where that has none.
//!
//! | source | what it risks |
//! |---|---|
//! | a file | whoever writes the host's disk withholds a newer bundle, or the host is started from none |
//! | the verifier | no boot while it is away; whoever is in the way, or the verifier itself, withholds a newer bundle |
//! | the verifier, then a file | whoever keeps the host from the verifier has it start from the file |
//!
//! Nobody can have it start from a bundle that the release key has not signed, nor from one that is older than the last that it was
//! started from: that is for launcher and vault to say, whatever came from where.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bartizan_cose::PublicKey;

use crate::bundle::{FetchError, from_file, from_verifier};
use crate::card::Card;

/// Between two tries, and up to twice that.
const RETRY: Duration = Duration::from_secs(2);

/// From where.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The verifier.
    Verifier(Way),
    /// The verifier, and a file where that serves nothing.
    VerifierThenFile(Way, PathBuf),
}

/// The way to the verifier.
#[derive(Clone, Debug)]
pub struct Way {
    /// The card, whose way it is.
    pub card: Card,
    /// How long it is tried again while nothing comes of it.
    pub patience: Duration,
}

impl Source {
    /// The file among it.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) | Self::VerifierThenFile(_, path) => Some(path),
            Self::Verifier(_) => None,
        }
    }

    /// The way to the verifier among it.
    #[must_use]
    pub const fn way(&self) -> Option<&Way> {
        match self {
            Self::Verifier(way) | Self::VerifierThenFile(way, _) => Some(way),
            Self::File(_) => None,
        }
    }

    /// A bundle whose manifest the release key has signed: its bytes.
    pub fn fetch(&self, release_key: &PublicKey) -> Result<Vec<u8>, FetchError> {
        match self {
            Self::File(path) => from_file(path, release_key),
            Self::Verifier(way) => way.fetch(release_key),
            Self::VerifierThenFile(way, path) => match way.fetch(release_key) {
                Err(absence) if absence.is_absence() => {
                    let path_shown = path.display();
                    eprintln!("bartizan-stage1: {absence}; taking {path_shown} instead");
                    from_file(path, release_key)
                }
                // Somebody serves what is not this fleet's: that is not passed over.
                served => served,
            },
        }
    }
}

impl Way {
    fn fetch(&self, release_key: &PublicKey) -> Result<Vec<u8>, FetchError> {
        let until = Instant::now() + self.patience;
        loop {
            match from_verifier(&self.card, release_key) {
                Err(error) if error.may_pass() && Instant::now() + RETRY < until => {
                    eprintln!("bartizan-stage1: {error}; trying again");
                    sleep(RETRY + jitter());
                }
                fetched => return fetched,
            }
        }
    }
}

/// Less than [`RETRY`]: a fleet whose power comes back does not ask in step. The fraction of a second that it is differs enough from host
/// to host, and takes no random numbers.
fn jitter() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    RETRY.mul_f64(f64::from(since.unwrap_or_default().subsec_nanos()) / 1e9)
}

#[cfg(test)]
mod tests;
