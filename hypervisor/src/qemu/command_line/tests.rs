use super::*;

fn guest(machine: Machine) -> Arguments<'static> {
    Arguments {
        name: "web",
        uuid: Uuid::nil(),
        machine,
        accelerator: Accelerator::Tcg,
        cpu_model: None,
        cpus: 2,
        memory: 512 << 20,
        ram: 10,
        boot: BootArguments::Kernel {
            image: 11,
            initrd: Some(12),
            command_line: "quiet, a=b",
        },
        disks: vec![
            DiskArguments {
                file: 13,
                readonly: true,
            },
            DiskArguments {
                file: 14,
                readonly: false,
            },
        ],
        qmp: 15,
        console: 16,
        vsock: 17,
        network: None,
    }
}

/// The value that follows `name`, where `value` begins it.
fn has(line: &[String], name: &str, value: &str) -> bool {
    line.windows(2)
        .any(|pair| pair[0] == name && pair[1].starts_with(value))
}

#[test]
fn ram_is_the_inherited_file_and_is_neither_merged_nor_dumped() {
    let line = build(&guest(Machine::Q35));
    assert!(has(
        &line,
        "-object",
        "memory-backend-file,id=mem,size=536870912,share=on,mem-path=/proc/self/fd/10,discard-data=off,merge=off,dump=off"
    ));
    assert!(has(
        &line,
        "-machine",
        "q35,vmport=off,memory-backend=mem,mem-merge=off"
    ));
    assert!(has(&line, "-m", "536870912B"));
}

#[test]
fn guest_starts_stopped_sandboxed_and_without_defaults() {
    let line = build(&guest(Machine::Q35));
    for flag in ["-S", "-nodefaults", "-no-user-config", "-no-reboot"] {
        assert!(line.iter().any(|word| word == flag), "{flag}");
    }
    assert!(has(
        &line,
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    ));
}

#[test]
fn kernel_and_disks_are_descriptors() {
    let line = build(&guest(Machine::Q35));
    assert!(has(&line, "-kernel", "/proc/self/fd/11"));
    assert!(has(&line, "-initrd", "/proc/self/fd/12"));
    assert!(has(&line, "-append", "quiet, a=b"));
    assert!(has(&line, "-add-fd", "fd=13,set=1"));
    assert!(has(
        &line,
        "-blockdev",
        "driver=raw,node-name=disk0,file=file0,read-only=on"
    ));
    assert!(has(
        &line,
        "-blockdev",
        "driver=raw,node-name=disk1,file=file1,read-only=off"
    ));
}

#[test]
fn devices_sit_on_the_machines_bus() {
    let q35 = build(&guest(Machine::Q35));
    assert!(has(&q35, "-device", "vhost-user-vsock-pci,chardev=vsock"));
    let microvm = build(&guest(Machine::Microvm));
    assert!(has(
        &microvm,
        "-device",
        "vhost-user-vsock-device,chardev=vsock"
    ));
    assert!(has(&microvm, "-global", "virtio-mmio.force-legacy=false"));
}

#[test]
fn firmware_boots_without_a_kernel() {
    let mut firmware = guest(Machine::Q35);
    firmware.boot = BootArguments::Firmware { image: 11 };
    let line = build(&firmware);
    assert!(has(&line, "-bios", "/proc/self/fd/11"));
    assert!(
        !line
            .iter()
            .any(|word| word == "-append" || word == "-kernel")
    );
}

#[test]
fn anchor_is_appended_and_microvm_is_told_the_clock() {
    let q35 = measured_command_line("quiet", "ab", Machine::Q35);
    assert_eq!(q35, "quiet bartizan.anchor=ab");
    assert_eq!(kernel_command_line(&q35, Machine::Q35, Some(5)), q35);
    let microvm = measured_command_line("quiet", "ab", Machine::Microvm);
    assert_eq!(microvm, "quiet bartizan.anchor=ab no_timer_check");
    assert_eq!(
        kernel_command_line(&microvm, Machine::Microvm, Some(5)),
        "quiet bartizan.anchor=ab no_timer_check tsc_early_khz=5"
    );
    assert_eq!(
        kernel_command_line(&microvm, Machine::Microvm, None),
        microvm
    );
}

#[test]
fn a_network_device_has_its_mac_and_its_mtu() {
    let network = Some(NetworkArguments {
        mac: Mac([2, 0, 0, 0, 0, 5]),
        mtu: 9000,
        queues: 1,
    });
    let with = |machine, accelerator| {
        build(&Arguments {
            network,
            accelerator,
            ..guest(machine)
        })
    };
    let line = with(Machine::Q35, Accelerator::Tcg);
    assert!(has(&line, "-chardev", "socket,id=net,path=/standard-input"));
    let device = "virtio-net-pci,netdev=net,mac=02:00:00:00:00:05,host_mtu=9000,";
    assert!(has(&line, "-device", device));
    assert!(line.iter().any(|word| word.ends_with("vectors=0")));
    let line = with(Machine::Q35, Accelerator::Kvm);
    assert!(has(&line, "-device", device) && !line.iter().any(|word| word.contains("vectors")));
    let line = with(Machine::Microvm, Accelerator::Tcg);
    assert!(has(&line, "-device", "virtio-net-device,netdev=net,"));
    assert!(
        !build(&guest(Machine::Q35))
            .iter()
            .any(|word| word.contains("net"))
    );
}

#[test]
fn a_network_device_has_several_queues_where_it_is_told_to() {
    for (queues, netdev, device) in [
        (1, "vhost-user,id=net,chardev=net,queues=1", "mq=off"),
        (2, "vhost-user,id=net,chardev=net,queues=2", "mq=on"),
    ] {
        let network = Some(NetworkArguments {
            mac: Mac([2, 0, 0, 0, 0, 5]),
            mtu: 1500,
            queues,
        });
        for machine in [Machine::Q35, Machine::Microvm] {
            let line = build(&Arguments {
                network,
                ..guest(machine)
            });
            assert!(has(&line, "-netdev", netdev));
            let is_device = |word: &&String| word.contains("netdev=net,");
            let found = line.iter().find(is_device).unwrap();
            assert!(found.split(',').any(|option| option == device), "{found}");
        }
    }
}
