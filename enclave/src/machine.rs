//! The machine around the program, whose first process it is: what is mounted, which drivers are loaded, where the ports are, and how
//! the machine ends.

mod device;
mod ports;

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot};

pub use device::Device;
pub use ports::{Ports, PortsError};

/// The drivers of the image, in the order in which they need one another. A kernel that loads none has them built in.
const MODULES: [&str; 6] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_console",
];

/// What is mounted: a name, where, of which kind.
const MOUNTS: [(&str, &str); 3] = [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")];

/// The machine cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}", what = .what.display())]
pub struct MachineError {
    /// What is mounted or loaded.
    what: PathBuf,
    /// Why it cannot be.
    source: io::Error,
}

/// Mounts and loads what the ports need.
pub fn set_up() -> Result<(), MachineError> {
    let failed = |what: &Path| {
        let what = what.to_owned();
        move |source| MachineError { what, source }
    };
    for (kind, place) in MOUNTS {
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        let mounted = mount(kind, place, kind, flags, None::<&CStr>);
        mounted.map_err(|error| failed(place.as_ref())(error.into()))?;
    }
    for name in MODULES {
        let path = Path::new("/modules").join(name).with_extension("ko");
        let file = File::open(&path).map_err(failed(&path))?;
        match finit_module(file, c"", 0) {
            // A kernel that has it built in says that it is there, and one that loads no drivers that it cannot: where that one lacks any,
            // there are no ports.
            Err(Errno::EXIST | Errno::NOSYS) | Ok(()) => {}
            Err(error) => return Err(failed(&path)(error.into())),
        }
    }
    Ok(())
}

/// The configuration's text.
pub fn configuration() -> Result<String, MachineError> {
    let path = Path::new(crate::config::PATH);
    fs::read_to_string(path).map_err(|source| MachineError {
        what: path.to_owned(),
        source,
    })
}

/// Ends the machine: its keeper starts another. The first process must never end by itself.
///
/// QEMU ends where the machine would be started again. Switching it off takes ACPI, and a kernel without it stands still instead.
pub fn end() -> ! {
    let _refused = reboot(RebootCommand::Restart);
    // Without the right to: the kernel panics when its first process ends, and QEMU ends with it.
    std::process::exit(1)
}
