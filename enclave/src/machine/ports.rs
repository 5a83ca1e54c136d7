//! The machine's ports, found by the names that QEMU gives them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bartizan_local::port::stream::Port;

use super::Device;

/// Where the kernel lists them.
const LISTED: &str = "/sys/class/virtio-ports";
/// How long the host may take to plug them in, once the driver is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ports.
#[derive(Debug)]
pub struct Ports {
    /// To the card.
    pub card: Port<Device>,
    /// To the hypervisor.
    pub hypervisor: Port<Device>,
    /// To the verifier.
    pub verifier: Port<Device>,
}

/// The ports are not there.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// No port has that name.
    #[error("no port is called `{0}`")]
    Missing(String),
    /// It cannot be opened.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Ports {
    /// Opens all three, once they are there. To be called in a runtime.
    pub async fn open() -> Result<Self, PortsError> {
        let until = Instant::now() + PATIENCE;
        loop {
            match Self::open_now() {
                // They are announced one by one.
                Err(PortsError::Missing(_)) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                opened => return opened,
            }
        }
    }

    fn open_now() -> Result<Self, PortsError> {
        let found = |name: &str| {
            let name = format!("bartizan.{name}");
            find(Path::new(LISTED), &name).ok_or(PortsError::Missing(name))
        };
        let paths = [found("card")?, found("hypervisor")?, found("verifier")?];
        let [card, hypervisor, verifier] = paths.map(|path| match Device::open(&path) {
            Ok(device) => Ok(Port::opening(device)),
            Err(source) => Err(PortsError::Io { path, source }),
        });
        Ok(Self {
            card: card?,
            hypervisor: hypervisor?,
            verifier: verifier?,
        })
    }
}

/// The device of the port of that name.
fn find(listed: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(listed).ok()?;
    let of_name = |entry: &fs::DirEntry| {
        let called = fs::read_to_string(entry.path().join("name"));
        called.is_ok_and(|called| called.trim_end() == name)
    };
    let entry = entries.filter_map(Result::ok).find(of_name)?;
    Some(Path::new("/dev").join(entry.file_name()))
}
