use super::{Config, ConfigError};

const LEAST: &str = "
listen: ['127.0.0.1:8443', '[::1]:8443']
names: [verifier.example, 127.0.0.1]
database: /var/lib/bartizan/verifier.db
vault_socket: /run/bartizan/verifier-vault.sock
fleet_name: Example
measured_boot: not_demanded
";

fn load(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("verifier.yaml");
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

#[test]
fn defaults_are_filled_in() {
    let config = load(LEAST).unwrap();
    assert_eq!((config.token_lifetime_s, config.report_window_s), (300, 60));
    assert_eq!(config.limits.connections, 1024);
    assert_eq!(
        load(&format!("{LEAST}limits: {{connections: 7}}"))
            .unwrap()
            .limits
            .connections,
        7
    );
}

#[test]
fn an_unknown_field_is_refused_with_its_place() {
    let error = load(&format!("{LEAST}listn: []\n")).unwrap_err();
    assert!(matches!(error, ConfigError::Malformed { .. }));
    assert!(error.to_string().contains("listn"), "{error}");
}

#[test]
fn values_out_of_range_are_refused() {
    for wrong in [
        "token_lifetime_s: 0",
        "report_window_s: 99999",
        // The vault certifies for no longer than seven days.
        "tls_lifetime_s: 604801",
        "token_key_lifetime_s: 604801",
        "card_key_overlap_s: 0",
        "card_key_overlap_s: 604801",
        "limits: {body_bytes: 1}",
        "limits: {memory_wait_s: 0}",
        // Half of it could not hold the largest report.
        "limits: {request_memory_bytes: 134217728}",
        "verdicts: {guest_burst: 0}",
        "retention: {others: {age_s: 1, per_guest: 9, per_host: 9}}",
    ] {
        let error = load(&format!("{LEAST}{wrong}\n")).unwrap_err();
        assert!(matches!(error, ConfigError::OutOfRange { .. }), "{error}");
    }
    let error = load(&LEAST.replace("[verifier.example, 127.0.0.1]", "[]")).unwrap_err();
    assert!(matches!(error, ConfigError::Empty { field: "names" }));
    assert!(matches!(load("a: ["), Err(ConfigError::Malformed { .. })));
}

#[test]
fn what_is_demanded_of_firmware_is_said_and_names_pcrs() {
    let said = |firmware: &str| {
        let keys = format!("release_keys: ['{}']", "0f".repeat(32));
        let demanded = format!("measured_boot: {{demanded: {{{keys}{firmware}}}}}");
        load(&LEAST.replace("measured_boot: not_demanded", &demanded))
    };
    let missing = said("").unwrap_err();
    assert!(missing.to_string().contains("firmware"), "{missing}");
    let of = |firmware: &str| {
        let config = said(&format!(", firmware: {firmware}")).unwrap();
        [true, false].map(|has_tpm| {
            let pcrs = config.measured_boot.firmware_of(has_tpm);
            pcrs.map(|pcrs| pcrs.numbers().collect::<Vec<_>>())
        })
    };
    let pcrs = Some(vec![0, 4, 7]);
    assert_eq!(of("not_demanded"), [None, None]);
    assert_eq!(of("{tpm_hosts: {pcrs: [7, 0, 4]}}"), [pcrs.clone(), None]);
    assert_eq!(of("{all_hosts: {pcrs: [0, 4, 7]}}"), [pcrs.clone(), pcrs]);
    for wrong in [
        "{tpm_hosts: {pcrs: []}}",
        "{tpm_hosts: {pcrs: [24]}}",
        "{tpm_hosts: {pcrs: [0, 12]}}",
        "{all_hosts: {pcrs: [15]}}",
        "{all_hosts: {pcrs: [16]}}",
        "{all_hosts: {}}",
        "demanded",
    ] {
        let refused = said(&format!(", firmware: {wrong}"));
        assert!(
            matches!(refused, Err(ConfigError::Malformed { .. })),
            "{wrong}"
        );
    }
}

#[test]
fn what_is_demanded_of_boots_is_said_and_names_keys() {
    let said = |what: &str| load(&LEAST.replace("measured_boot: not_demanded", what));
    let missing = said("").unwrap_err();
    assert!(missing.to_string().contains("measured_boot"), "{missing}");
    let none =
        said("measured_boot: {demanded: {release_keys: [], firmware: not_demanded}}").unwrap_err();
    let field = "release_keys";
    assert!(matches!(none, ConfigError::Empty { field: found } if found == field));
    let key = "0f".repeat(32);
    let one = said(&format!(
        "measured_boot: {{demanded: {{release_keys: ['{key}'], firmware: not_demanded}}}}"
    ))
    .unwrap();
    assert!(one.measured_boot.is_demanded());
    assert_eq!(one.measured_boot.signers(), [[0x0f; 32]]);
    for wrong in ["abc", "zz", &key[2..]] {
        let wrong = said(&format!(
            "measured_boot: {{demanded: {{release_keys: ['{wrong}'], firmware: not_demanded}}}}"
        ));
        assert!(matches!(wrong, Err(ConfigError::Malformed { .. })));
    }
    let pcrs = |measurement: u8, authority: u8| {
        said(&format!(
            "measured_boot: {{demanded: {{release_keys: ['{key}'], firmware: not_demanded, register_pcrs: {{measurement: {measurement}, authority: {authority}}}}}}}"
        ))
    };
    let pair = |config: Config| {
        let pcrs = config.measured_boot.register_pcrs();
        (pcrs.measurement, pcrs.authority)
    };
    assert_eq!(
        (pair(one), pair(pcrs(13, 14).unwrap())),
        ((12, 15), (13, 14))
    );
    for (measurement, authority) in [(12, 12), (16, 15), (12, 23)] {
        let refused = pcrs(measurement, authority);
        assert!(matches!(refused, Err(ConfigError::Malformed { .. })));
    }
}
