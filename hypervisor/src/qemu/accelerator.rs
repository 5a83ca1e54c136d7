//! KVM or TCG.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use super::process::User;

/// The device of KVM.
pub const KVM: &str = "/dev/kvm";

/// How a guest's instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accelerator {
    /// By the CPU, through `/dev/kvm`.
    Kvm,
    /// By QEMU's translator, one thread a virtual CPU.
    Tcg,
}

/// What the configuration says about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AcceleratorChoice {
    /// KVM where it works, else TCG.
    #[default]
    Auto,
    /// KVM; the guest does not start without it.
    Kvm,
    /// TCG.
    Tcg,
}

impl Accelerator {
    /// Chooses for this host and the user that QEMU will run as; `None` is this process's own.
    #[must_use]
    pub fn for_host(choice: AcceleratorChoice, user: Option<User>) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self::choose(choice, &cpuinfo, || kvm_opens(user))
    }

    /// Chooses from the text of `/proc/cpuinfo` and whether `/dev/kvm` opens.
    ///
    /// A `/dev/kvm` that opens proves nothing by itself: where the CPU shows neither `vmx` nor `svm` it
    /// is an emulation too slow to boot Linux.
    #[must_use]
    pub fn choose(choice: AcceleratorChoice, cpuinfo: &str, opens: impl FnOnce() -> bool) -> Self {
        let hardware = || {
            cpuinfo
                .lines()
                .filter_map(|line| line.strip_prefix("flags"))
                .flat_map(str::split_ascii_whitespace)
                .any(|flag| flag == "vmx" || flag == "svm")
        };
        match choice {
            AcceleratorChoice::Kvm => Self::Kvm,
            AcceleratorChoice::Tcg => Self::Tcg,
            AcceleratorChoice::Auto if hardware() && opens() => Self::Kvm,
            AcceleratorChoice::Auto => Self::Tcg,
        }
    }

    /// The CPU model where the launch record names none: all that this accelerator can do.
    #[must_use]
    pub const fn default_cpu_model(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "max",
        }
    }
}

/// `kvm` or `tcg`.
impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// Whether that user may open KVM's device. This process's own right says nothing of it.
fn kvm_opens(user: Option<User>) -> bool {
    if File::options().read(true).write(true).open(KVM).is_err() {
        return false;
    }
    let Some(user) = user else { return true };
    let opens = fs::metadata(KVM).is_ok_and(|device| may_open(&device, user));
    if !opens {
        tracing::warn!(
            uid = user.uid,
            gid = user.gid,
            "{KVM} is there, but QEMU's user may not open it: guests run without KVM; set `qemu.users.gid` to the device's group"
        );
    }
    opens
}

/// For reading and writing, by the mode (path_resolution(7)).
fn may_open(device: &Metadata, user: User) -> bool {
    let shift = if device.uid() == user.uid {
        6
    } else if device.gid() == user.gid {
        3
    } else {
        0
    };
    (device.mode() >> shift) & 0o6 == 0o6
}

/// The host's time stamp counter frequency in kHz, as far as `/proc/cpuinfo` tells it.
#[must_use]
pub fn tsc_khz(cpuinfo: &str) -> Option<u64> {
    let megahertz = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("cpu MHz"))?;
    let (whole, fraction) = megahertz
        .trim_start_matches([' ', '\t', ':'])
        .split_once('.')?;
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = fraction.get(..3)?.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_needs_both_the_flag_and_the_device() {
        let with = "processor\t: 0\nflags\t\t: fpu vmx sse\n";
        let without = "processor\t: 0\nflags\t\t: fpu sse vmxish\nvmx flags\t: ept\n";
        let choose = |text, opens| Accelerator::choose(AcceleratorChoice::Auto, text, || opens);
        assert_eq!(choose(with, true), Accelerator::Kvm);
        assert_eq!(choose(with, false), Accelerator::Tcg);
        assert_eq!(choose(without, true), Accelerator::Tcg);
    }

    #[test]
    fn the_mode_says_whom_a_device_opens_for() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let of = file.as_file().metadata().unwrap();
        let (owner, group) = (of.uid(), of.gid());
        let opens = |mode, uid, gid| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(file.path(), mode).unwrap();
            may_open(&file.as_file().metadata().unwrap(), User { uid, gid })
        };
        assert!(opens(0o660, owner + 1, group));
        assert!(!opens(0o660, owner + 1, group + 1));
        assert!(!opens(0o640, owner + 1, group));
        assert!(opens(0o666, owner + 1, group + 1));
        assert!(opens(0o600, owner, group + 1));
    }

    #[test]
    fn frequency_is_read_to_the_kilohertz() {
        assert_eq!(
            tsc_khz("model\t: 1\ncpu MHz\t\t: 2249.998\n"),
            Some(2_249_998)
        );
        assert_eq!(tsc_khz("cpu MHz\t\t: unknown\n"), None);
    }
}
