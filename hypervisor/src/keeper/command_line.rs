//! The arguments of the enclave's QEMU, as a pure function: what the machine has, and above all what it has not.

use std::os::fd::RawFd;

use crate::qemu::accelerator::Accelerator;

/// What QEMU is told. Descriptors are numbers that QEMU inherits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arguments<'a> {
    /// KVM or TCG.
    pub accelerator: Accelerator,
    /// RAM in MiB.
    pub memory_mib: u32,
    /// The kernel.
    pub kernel: RawFd,
    /// The image with its configuration.
    pub image: RawFd,
    /// The kernel's command line.
    pub command_line: &'a str,
    /// A connected stream socket that is the console.
    pub console: RawFd,
    /// Connected stream sockets that are the ports.
    pub ports: [(&'a str, RawFd); 3],
}

/// QEMU's arguments, without the program's name. No network card, no disk, no monitor; RAM that is QEMU's own memory, in no file that
/// another process could map.
#[must_use]
pub fn build(machine: &Arguments<'_>) -> Vec<String> {
    let mut line: Vec<String> = ["-nodefaults", "-no-user-config", "-no-reboot"]
        .map(Into::into)
        .into();
    let mut option = |name: &str, value: String| line.extend([name.to_owned(), value]);
    option("-display", "none".into());
    option(
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".into(),
    );
    option("-name", "enclave".into());
    // No page merging and no dumps: neither may tell another what the enclave's memory holds.
    let kind = "q35,vmport=off,usb=off,sata=off,smbus=off,mem-merge=off,dump-guest-core=off";
    option("-machine", kind.into());
    let accelerator = match machine.accelerator {
        Accelerator::Kvm => "kvm",
        // Translations alone would take up to 1 GiB, beyond the limit of its control group (`tb-size` in accel/tcg/region.c).
        Accelerator::Tcg => "tcg,thread=multi,tb-size=64",
    };
    option("-accel", accelerator.into());
    option("-cpu", machine.accelerator.default_cpu_model().into());
    option("-smp", "1".into());
    option("-m", format!("{}M", machine.memory_mib));
    option("-kernel", format!("/proc/self/fd/{}", machine.kernel));
    option("-initrd", format!("/proc/self/fd/{}", machine.image));
    option("-append", machine.command_line.into());
    let console = machine.console;
    option("-chardev", format!("socket,id=console,fd={console}"));
    option("-serial", "chardev:console".into());
    option("-device", "virtio-serial-pci,id=links,max_ports=4".into());
    for (name, descriptor) in machine.ports {
        option("-chardev", format!("socket,id={name},fd={descriptor}"));
        option(
            "-device",
            format!("virtserialport,bus=links.0,chardev={name},name=bartizan.{name}"),
        );
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_its_links_and_nothing_else() {
        let arguments = build(&Arguments {
            accelerator: Accelerator::Tcg,
            memory_mib: 128,
            kernel: 10,
            image: 11,
            command_line: "quiet, nic=on",
            console: 12,
            ports: [("card", 13), ("hypervisor", 14), ("verifier", 15)],
        });
        let devices: Vec<_> = (arguments.windows(2))
            .filter(|pair| pair[0] == "-device")
            .map(|pair| pair[1].split(',').next().unwrap())
            .collect();
        let port = "virtserialport";
        assert_eq!(devices, ["virtio-serial-pci", port, port, port]);
        assert!(arguments.contains(&"quiet, nic=on".to_owned()));
        for absent in [
            "-netdev",
            "-nic",
            "-drive",
            "-blockdev",
            "-object",
            "-mon",
            "-qmp",
        ] {
            assert!(!arguments.iter().any(|argument| argument == absent));
        }
        assert!(
            !arguments
                .iter()
                .any(|argument| argument.contains("share=on"))
        );
    }
}
