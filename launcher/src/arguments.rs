//! The command line: few words, read by hand, so that nothing else is linked.

use std::ffi::OsString;
use std::path::PathBuf;

use bartizan_launcher::firmware;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Boots a host: measures its programs, starts them from what was measured, and keeps them running.

Usage: bartizan-launcher --manifest FILE --release-key FILE --state-dir DIR [--log-dir DIR] [--firmware-log FILE]

  --manifest FILE     the signed release manifest of the base (bartizan release sign)
  --release-key FILE  the release key, a SubjectPublicKeyInfo in DER
  --state-dir DIR     a folder of root's, for the sockets on which programs say that they serve
  --log-dir DIR       a folder for a log a program; without it they log to standard error
  --firmware-log FILE what the host's firmware measured into its TPM, which the host's vault is told; a host may have none.
                      Without this it is /sys/kernel/security/tpm0/binary_bios_measurements

Exit code: 1 failed, 2 wrong usage. A boot that is stopped leaves running what runs.

Example: bartizan-launcher --manifest /etc/bartizan/base.release --release-key /etc/bartizan/release.pub --state-dir /run/bartizan";

/// The command line.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) manifest: PathBuf,
    pub(crate) release_key: PathBuf,
    pub(crate) state_dir: PathBuf,
    pub(crate) log_dir: Option<PathBuf>,
    pub(crate) firmware_log: PathBuf,
}

impl Arguments {
    /// Reads it; `None` asks for help.
    pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let (mut manifest, mut release_key, mut state_dir) = (None, None, None);
        let (mut log_dir, mut firmware_log) = (None, None);
        let mut words = words;
        while let Some(word) = words.next() {
            let place = match word.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--manifest") => &mut manifest,
                Some("--release-key") => &mut release_key,
                Some("--state-dir") => &mut state_dir,
                Some("--log-dir") => &mut log_dir,
                Some("--firmware-log") => &mut firmware_log,
                _ => return Err(format!("unknown argument `{}`", word.display())),
            };
            let value = words
                .next()
                .ok_or_else(|| format!("{} needs a value", word.display()))?;
            *place = Some(PathBuf::from(value));
        }
        let needed =
            |value: Option<PathBuf>, name| value.ok_or_else(|| format!("{name} is missing"));
        Ok(Some(Self {
            manifest: needed(manifest, "--manifest")?,
            release_key: needed(release_key, "--release-key")?,
            state_dir: needed(state_dir, "--state-dir")?,
            log_dir,
            firmware_log: firmware_log.unwrap_or_else(|| firmware::KERNELS.into()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Option<Arguments>, String> {
        Arguments::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn every_file_is_named() {
        let whole = ["--manifest", "m", "--release-key", "k", "--state-dir", "s"];
        let parsed = parse(&whole).unwrap().unwrap();
        assert_eq!(parsed.manifest, PathBuf::from("m"));
        assert_eq!(parsed.log_dir, None);
        assert_eq!(parsed.firmware_log, PathBuf::from(firmware::KERNELS));
        for missing in [0, 2, 4] {
            let mut words = whole.to_vec();
            words.drain(missing..missing + 2);
            parse(&words).unwrap_err();
        }
        parse(&["--manifest"]).unwrap_err();
        parse(&["--other", "x"]).unwrap_err();
        assert!(parse(&["--help"]).unwrap().is_none());
    }
}
