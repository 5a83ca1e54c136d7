//! QEMU's arguments, as a pure function of what a guest is given.
//!
//! Every file is named by a descriptor that QEMU inherits: its user needs no right to any path. Text of
//! the launch record becomes an argument of its own (command line, CPU model), never part of a
//! comma-separated list of ours.

use std::os::fd::RawFd;

use bartizan_attestation::launch::{Mac, Machine};
use uuid::Uuid;

use super::accelerator::Accelerator;

/// Id of the memory back end that is the guest's RAM.
pub const RAM_ID: &str = "mem";

/// What QEMU is told. Descriptors are numbers that QEMU inherits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arguments<'a> {
    /// Name for people, of `a-z`, `0-9`, `-`.
    pub name: &'a str,
    /// The VM's UUID.
    pub uuid: Uuid,
    /// Machine type.
    pub machine: Machine,
    /// KVM or TCG.
    pub accelerator: Accelerator,
    /// CPU model; the accelerator's default where there is none.
    pub cpu_model: Option<&'a str>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// RAM in bytes.
    pub memory: u64,
    /// The RAM file.
    pub ram: RawFd,
    /// What boots.
    pub boot: BootArguments<'a>,
    /// Disks, in order.
    pub disks: Vec<DiskArguments>,
    /// A connected stream socket that speaks QMP.
    pub qmp: RawFd,
    /// A connected stream socket that is the first serial port.
    pub console: RawFd,
    /// A connected stream socket that speaks vhost-user for the vsock device.
    pub vsock: RawFd,
    /// The network device, where there is one.
    pub network: Option<NetworkArguments>,
}

/// A network device. Its link, which speaks vhost-user, is QEMU's standard input (see
/// [`VhostLink`](crate::confinement::qemu::VhostLink)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetworkArguments {
    /// Its Ethernet address.
    pub mac: Mac,
    /// Longest IP packet in bytes, as the guest's driver is told.
    pub mtu: u16,
    /// Queues each way, of which the guest's driver uses as many as it likes.
    pub queues: u8,
}

/// What boots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BootArguments<'a> {
    /// A kernel, directly.
    Kernel {
        /// The bzImage.
        image: RawFd,
        /// The initial RAM disk.
        initrd: Option<RawFd>,
        /// The whole kernel command line.
        command_line: &'a str,
    },
    /// Firmware.
    Firmware {
        /// The firmware image.
        image: RawFd,
    },
}

/// One disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskArguments {
    /// The image, raw.
    pub file: RawFd,
    /// Whether the guest may only read it.
    pub readonly: bool,
}

/// The kernel command line as measured: the record's, the SDK's anchor, and on microvm, which has none of the timers
/// that its kernel would check the interrupt by, that it shall not. The same on every host.
#[must_use]
pub fn measured_command_line(record: &str, fleet_ca_sha256: &str, machine: Machine) -> String {
    let mut line = format!("{record} bartizan.anchor={fleet_ca_sha256}");
    if machine == Machine::Microvm {
        line.push_str(" no_timer_check");
    }
    line
}

/// The kernel command line as handed to QEMU: as measured, and on microvm the frequency of this host's TSC, which its
/// kernel would else calibrate against timers that are not there (it hangs now and then). That number is all that is
/// not measured: it says what the host's clock is, which is the host's to decide however the guest is told.
#[must_use]
pub fn kernel_command_line(measured: &str, machine: Machine, tsc_khz: Option<u64>) -> String {
    match (machine, tsc_khz) {
        (Machine::Microvm, Some(khz)) => format!("{measured} tsc_early_khz={khz}"),
        _ => measured.to_owned(),
    }
}

/// QEMU's arguments, without the program's name.
#[must_use]
pub fn build(guest: &Arguments<'_>) -> Vec<String> {
    let mut line = Line(Vec::new());
    line.flag("-nodefaults")
        .flag("-no-user-config")
        .flag("-no-reboot")
        .flag("-S");
    line.option("-display", "none");
    line.option(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    );
    line.option("-name", guest.name)
        .option("-uuid", guest.uuid.to_string());
    machine(&mut line, guest);
    boot(&mut line, &guest.boot);
    line.option("-chardev", format!("socket,id=qmp,fd={}", guest.qmp));
    line.option("-mon", "chardev=qmp,mode=control");
    line.option(
        "-chardev",
        format!("socket,id=console,fd={}", guest.console),
    );
    line.option("-serial", "chardev:console");
    // PCI functions and virtio-mmio transports are named alike but for the end.
    let bus = match guest.machine {
        Machine::Q35 => "pci",
        Machine::Microvm => "device",
    };
    for (index, disk) in guest.disks.iter().enumerate() {
        self::disk(&mut line, index, *disk, bus);
    }
    line.option("-object", "rng-builtin,id=rng");
    line.option("-device", format!("virtio-rng-{bus},rng=rng"));
    line.option("-chardev", format!("socket,id=vsock,fd={}", guest.vsock));
    line.option("-device", format!("vhost-user-vsock-{bus},chardev=vsock"));
    if let Some(network) = guest.network {
        self::network(&mut line, network, guest);
    }
    line.0
}

fn machine(line: &mut Line, guest: &Arguments<'_>) {
    let machine = match guest.machine {
        Machine::Q35 => "q35,vmport=off",
        // Debian's kernels lack VIRTIO_MMIO_CMDLINE_DEVICES: they find the devices by ACPI. The kernel
        // command line stays what was measured.
        Machine::Microvm => "microvm,acpi=on,isa-serial=on,auto-kernel-cmdline=off",
    };
    line.option(
        "-machine",
        // No page merging and no dumps: neither may tell another what a guest's memory holds.
        format!("{machine},memory-backend={RAM_ID},mem-merge=off,dump-guest-core=off"),
    );
    if guest.machine == Machine::Microvm {
        line.option("-global", "virtio-mmio.force-legacy=false");
    }
    line.option(
        "-accel",
        match guest.accelerator {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg,thread=multi",
        },
    );
    line.option(
        "-cpu",
        guest
            .cpu_model
            .unwrap_or(guest.accelerator.default_cpu_model()),
    );
    line.option("-smp", guest.cpus.to_string());
    line.option("-m", format!("{}B", guest.memory));
    line.option(
        "-object",
        format!(
            "memory-backend-file,id={RAM_ID},size={},share=on,mem-path=/proc/self/fd/{},\
             discard-data=off,merge=off,dump=off",
            guest.memory, guest.ram
        ),
    );
}

fn boot(line: &mut Line, boot: &BootArguments<'_>) {
    match boot {
        BootArguments::Kernel {
            image,
            initrd,
            command_line,
        } => {
            line.option("-kernel", format!("/proc/self/fd/{image}"));
            if let Some(initrd) = initrd {
                line.option("-initrd", format!("/proc/self/fd/{initrd}"));
            }
            line.option("-append", *command_line);
        }
        BootArguments::Firmware { image } => {
            line.option("-bios", format!("/proc/self/fd/{image}"));
        }
    }
}

fn disk(line: &mut Line, index: usize, disk: DiskArguments, bus: &str) {
    let set = index + 1;
    let readonly = if disk.readonly { "on" } else { "off" };
    line.option("-add-fd", format!("fd={},set={set}", disk.file));
    line.option(
        "-blockdev",
        format!(
            "driver=file,node-name=file{index},filename=/dev/fdset/{set},read-only={readonly},discard=ignore"
        ),
    );
    // `raw` is named: a guest that writes another format's header must not get it interpreted.
    line.option(
        "-blockdev",
        format!(
            "driver=raw,node-name=disk{index},file=file{index},read-only={readonly},discard=ignore"
        ),
    );
    // Errors are the guest's to see: QEMU must not stop it on its own (a full host disk would).
    line.option(
        "-device",
        format!("virtio-blk-{bus},drive=disk{index},werror=report,rerror=report"),
    );
}

fn network(line: &mut Line, network: NetworkArguments, guest: &Arguments<'_>) {
    let NetworkArguments { mac, mtu, queues } = network;
    // Nothing is there, and nobody connects to it.
    line.option("-chardev", "socket,id=net,path=/standard-input");
    line.option(
        "-netdev",
        format!("vhost-user,id=net,chardev=net,queues={queues}"),
    );
    let several = if queues > 1 { "on" } else { "off" };
    // Offloads cannot be turned off later: devices would not hear of it.
    let common = format!(
        "netdev=net,mac={mac},host_mtu={mtu},rx_queue_size=1024,tx_queue_size=1024,ctrl_guest_offloads=off,mq={several}"
    );
    let device = match (guest.machine, guest.accelerator) {
        (Machine::Microvm, _) => format!("virtio-net-device,{common}"),
        // No boot ROM, no legacy driver. QEMU 7.2 crashes under TCG when it masks the vectors of a vhost-user network device.
        (Machine::Q35, Accelerator::Tcg) => {
            format!("virtio-net-pci,{common},romfile=,disable-legacy=on,vectors=0")
        }
        (Machine::Q35, Accelerator::Kvm) => {
            format!("virtio-net-pci,{common},romfile=,disable-legacy=on")
        }
    };
    line.option("-device", device);
}

struct Line(Vec<String>);

impl Line {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.0.push(flag.into());
        self
    }

    fn option(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.0.push(name.into());
        self.0.push(value.into());
        self
    }
}

#[cfg(test)]
mod tests;
