//! What the host's own firmware measured, as the kernel shows it.
//!
//! It is handed on as it is: whether it is true the TPM's PCRs say, to whoever demands it. So a log that is not there, or cannot be
//! handed on, stops no boot here.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bartizan_boot::FirmwareLog;

/// Where Linux shows it.
pub const KERNELS: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

/// A log that is not handed on.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    File(#[from] io::Error),
    /// It is too large.
    #[error("it has more than {} bytes", FirmwareLog::MAX_LEN)]
    TooLarge,
}

/// The log, where there is one.
#[must_use]
pub fn log(path: &Path) -> Option<Vec<u8>> {
    match read(path) {
        Ok(log) => {
            let size = log.len();
            eprintln!("the firmware's event log has {size} bytes");
            Some(log)
        }
        Err(Unread::File(error)) if error.kind() == io::ErrorKind::NotFound => {
            let path = path.display();
            eprintln!("this host shows no event log of its firmware at {path}");
            None
        }
        Err(error) => {
            let path = path.display();
            eprintln!("the firmware's event log {path} is left out: {error}");
            None
        }
    }
}

/// The kernel does not say how long it is.
fn read(path: &Path) -> Result<Vec<u8>, Unread> {
    let most = u64::try_from(FirmwareLog::MAX_LEN).unwrap_or(u64::MAX);
    let mut log = Vec::new();
    File::open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut log)?;
    if log.len() > FirmwareLog::MAX_LEN {
        return Err(Unread::TooLarge);
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_to_its_bound_and_no_further() {
        let folder = std::env::temp_dir().join(format!("firmware-log-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("log");
        for (size, read) in [
            (0, true),
            (FirmwareLog::MAX_LEN, true),
            (FirmwareLog::MAX_LEN + 1, false),
        ] {
            std::fs::write(&file, vec![7; size]).unwrap();
            assert_eq!(log(&file), read.then(|| vec![7; size]));
        }
        // Without an end.
        assert_eq!(log(Path::new("/dev/zero")), None);
        assert_eq!(log(&folder), None);
        assert_eq!(log(&folder.join("none")), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
