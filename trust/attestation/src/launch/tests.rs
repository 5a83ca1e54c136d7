mod signed;

use proptest::prelude::*;

use super::*;

/// A record with every field; tests replace one line each.
pub(crate) const RECORD: &str = include_str!("tests/record.yaml");

fn problem(yaml: &str) -> (u64, u64, String) {
    match LaunchRecord::parse(yaml).unwrap_err() {
        LaunchRecordError::Yaml {
            line,
            column,
            problem,
        } => (line, column, problem),
        other => panic!("not a problem of the YAML: {other}"),
    }
}

#[test]
fn a_full_record_reads_naturally() {
    let record = LaunchRecord::parse(RECORD).unwrap();
    assert_eq!(record.name, "web-1");
    assert_eq!(record.labels["tier"], "front");
    assert_eq!(record.machine, Machine::Microvm);
    assert_eq!(record.restart, RestartPolicy::OnFailure);
    assert_eq!(record.budget.concurrent, 4);
    assert_eq!(
        record.budget.requests_per_minute,
        Budget::default().requests_per_minute
    );
    let Boot::Kernel {
        image,
        initrd,
        command_line,
    } = record.boot
    else {
        panic!("no kernel")
    };
    assert_eq!(image.path, PathBuf::from("/srv/guests/vmlinuz"));
    assert!(initrd.is_some());
    assert_eq!(command_line, "console=ttyS0 root=/dev/vda ro");
    assert!(record.disks[0].readonly && !record.disks[1].readonly);
}

#[test]
fn what_may_lack_lacks() {
    let record = LaunchRecord::parse(include_str!("tests/minimal.yaml")).unwrap();
    assert_eq!(record.machine, Machine::Q35);
    assert_eq!(record.budget, Budget::default());
    assert_eq!(record.restart, RestartPolicy::Never);
    assert_eq!(record.boot_timeout_s, 120);
    assert!(matches!(
        record.boot,
        Boot::Firmware {
            introspected_kernel: None,
            ..
        }
    ));
}

#[test]
fn written_records_read_back() {
    let record = LaunchRecord::parse(RECORD).unwrap();
    let yaml = serde_saphyr::to_string(&record).unwrap();
    assert_eq!(LaunchRecord::parse(&yaml).unwrap(), record);
}

/// Each wrong value, the line it stands in, and what the message must say.
#[test]
fn wrong_values_are_refused_where_they_stand() {
    for (good, bad, says) in [
        ("version: 1", "version: 2", "expected 1"),
        ("name: web-1", "name: Web_1", "1 to 63"),
        ("name: web-1", "name: ''", "1 to 63"),
        ("role: web", "role: ../etc", "1 to 63"),
        ("tier: front", "Tier: front", "labels"),
        ("uuid: 6f1f2a0e-", "uuid: zz1f2a0e-", "UUID"),
        ("cpus: 2", "cpus: 0", "1 to 64"),
        ("cpus: 2", "cpus: 65", "1 to 64"),
        ("cpus: 2", "cpus: -1", "u32"),
        ("memory_mib: 512", "memory_mib: 63", "1048576"),
        ("memory_mib: 512", "memory_mib: 1048577", "1048576"),
        ("machine: microvm", "machine: pc", "pc"),
        (
            "cpu_model: max,la57=off",
            "cpu_model: 'max -device x'",
            "CPU model",
        ),
        (
            "path: /srv/guests/vmlinuz",
            "path: guests/vmlinuz",
            "absolute",
        ),
        (
            "path: /srv/guests/vmlinuz",
            "path: /srv/../vmlinuz",
            "absolute",
        ),
        (
            "path: /srv/guests/root.ext4",
            "path: /srv/root.ext4,readonly=off",
            "commas",
        ),
        (
            "command_line: console=ttyS0 root=/dev/vda ro",
            "command_line: bartizan.anchor=00",
            "anchor",
        ),
        (
            "command_line: console=ttyS0 root=/dev/vda ro",
            "command_line: \"a\\nb\"",
            "printable",
        ),
        ("sha384: aa", "sha384: AA", "96 lower-case"),
        ("fleet_ca_sha256: dd", "fleet_ca_sha256: d", "64 lower-case"),
        (
            "services: [time, secrets]",
            "services: [time, time]",
            "none twice",
        ),
        (
            "services: [time, secrets]",
            "services: ['/etc']",
            "services",
        ),
        ("concurrent: 4", "concurrent: 65", "concurrent 1 to 64"),
        ("restart: on-failure", "restart: sometimes", "sometimes"),
        ("boot_timeout_s: 60", "boot_timeout_s: 4", "5 to 3600"),
        ("role: web", "roles: web", "roles"),
        ("  kernel:", "  kernal:", "kernal"),
        ("    initrd:", "    initrds:", "initrds"),
        (
            "  - path: /srv/guests/data.ext4",
            "  - file: /srv/guests/data.ext4",
            "file",
        ),
    ] {
        assert!(RECORD.contains(good), "{good}");
        let line = RECORD.lines().position(|line| line.contains(good)).unwrap() as u64 + 1;
        let (at, column, says_now) = problem(&RECORD.replacen(good, bad, 1));
        assert!(says_now.contains(says), "{bad}: {says_now}");
        assert_eq!(at, line, "{bad}: {says_now}");
        assert!(column > 0 && says_now.contains(&format!("line {line}, column {column}")));
    }
}

#[test]
fn a_readonly_disk_without_digest_is_refused() {
    let mut lines: Vec<_> = RECORD.lines().collect();
    let disk = lines
        .iter()
        .position(|line| line.contains("root.ext4"))
        .unwrap();
    lines.remove(disk + 2);
    assert!(problem(&lines.join("\n")).2.contains("readonly"));
}

#[test]
fn firmware_needs_pci_and_a_disk() {
    let minimal = include_str!("tests/minimal.yaml");
    let microvm = format!("{minimal}machine: microvm\n");
    assert!(matches!(
        LaunchRecord::parse(&microvm),
        Err(LaunchRecordError::FirmwareOnMicrovm)
    ));
    let diskless = &minimal[..minimal.find("disks:").unwrap()];
    assert!(matches!(
        LaunchRecord::parse(diskless),
        Err(LaunchRecordError::FirmwareWithoutDisk)
    ));
}

#[test]
fn hostile_yaml_is_refused_cheaply() {
    let deep = format!("a: {}", "[".repeat(100_000));
    let wide = "- x\n".repeat(30_000);
    let bomb = "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n";
    let merge = "base: &base {cpus: 1}\n<<: *base\n";
    let doubled = format!("{RECORD}\nversion: 1\n");
    let two = format!("{RECORD}\n---\n{RECORD}");
    let tagged = RECORD.replacen("name: web-1", "name: !secret web-1", 1);
    for hostile in [
        &deep,
        &wide,
        bomb,
        merge,
        &doubled,
        &two,
        &tagged,
        "",
        "\0",
        "%YAML 9.9\n---\n",
    ] {
        let start = std::time::Instant::now();
        problem(hostile);
        assert!(start.elapsed().as_secs() < 2);
    }
    let long = format!("{RECORD}\n#{}", "x".repeat(200_000));
    assert!(matches!(
        LaunchRecord::parse(&long),
        Err(LaunchRecordError::TooLarge { .. })
    ));
}

#[test]
fn every_part_of_a_launch_is_measured() {
    let digest = |byte| Digest(vec![byte; 48]);
    let input = LaunchMeasurementInput {
        record: digest(1),
        image: digest(2),
        initrd: Some(digest(3)),
        command_line: Some("ro".into()),
        disks: vec![Some(digest(4)), None],
    };
    let measured = input.measure();
    assert_eq!(measured.0.len(), 48);
    let changes: [fn(&mut LaunchMeasurementInput); 7] = [
        |i| i.record.0[0] ^= 1,
        |i| i.image.0[47] ^= 1,
        |i| i.initrd = None,
        |i| i.command_line = Some("rw".into()),
        |i| i.command_line = None,
        |i| i.disks.reverse(),
        |i| i.disks[1] = Some(Digest(vec![0; 48])),
    ];
    for change in changes {
        let mut changed = input.clone();
        change(&mut changed);
        assert_ne!(changed.measure(), measured);
    }
    assert_eq!(input.measure(), measured);
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(?s).{0,200}", at in any::<prop::sample::Index>()) {
        let _ = LaunchRecord::parse(&text);
        let at = at.index(RECORD.len());
        let mangled = [&RECORD.as_bytes()[..at], text.as_bytes(), &RECORD.as_bytes()[at..]].concat();
        if let Ok(mangled) = std::str::from_utf8(&mangled) {
            let _ = LaunchRecord::parse(mangled);
        }
    }
}
