use super::*;

/// The host's clock is in what boots, not in what is measured: one record, one measurement, whatever the host.
#[test]
fn the_measurement_does_not_tell_hosts_apart() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = folder.path().join("vmlinuz");
    fs::write(&kernel, b"a kernel").unwrap();
    let sha384 = digest::hash(HashAlgorithm::Sha384, b"a kernel");
    let anchor = "ab".repeat(32);
    let yaml = format!(
        "version: 1\nname: web\nuuid: 00000000-0000-0000-0000-000000000001\nrole: test\ncpus: 1\n\
         memory_mib: 256\nmachine: microvm\nfleet_ca_sha256: {anchor}\n\
         boot:\n  kernel:\n    image: {{path: {path}, sha384: {sha384}}}\n    command_line: quiet\n",
        path = kernel.display(),
    );
    let record = LaunchRecord::parse(&yaml).unwrap();
    let prepared = Prepared::new(&record, &yaml).unwrap();
    let measured = format!("quiet bartizan.anchor={anchor} no_timer_check");
    let input = LaunchMeasurementInput {
        record: digest::hash(HashAlgorithm::Sha384, yaml.as_bytes()),
        image: sha384,
        initrd: None,
        command_line: Some(measured.clone()),
        disks: Vec::new(),
    };
    assert_eq!(prepared.measurement, input.measure());
    let BootArguments::Kernel { command_line, .. } = prepared.boot_arguments() else {
        panic!("a kernel boots")
    };
    let added = command_line.strip_prefix(&measured).unwrap();
    let digits = added.strip_prefix(" tsc_early_khz=").unwrap_or_default();
    assert!(added.is_empty() || digits.parse::<u64>().is_ok(), "{added}");
}
