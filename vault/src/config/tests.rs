use super::*;

fn load(operators: &str) -> Result<Config, ConfigError> {
    load_sealed("{key_file: /x}", operators)
}

fn load_sealed(sealing: &str, operators: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.yaml");
    let text = format!(
        "socket: /x\nallowed_uids: [1]\nstore: /x\nsealing: {sealing}\nrole: verifier\n{operators}"
    );
    std::fs::write(&path, text).unwrap();
    Config::load(&path)
}

#[test]
fn an_operators_key_is_named_by_a_digest_and_nothing_else() {
    assert!(load("").unwrap().operators.is_empty());
    let named = |digest: &str| {
        load(&format!(
            "operators: [{{name: bob, key_sha256: '{digest}', role: runner}}]"
        ))
    };
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(named(&digest).unwrap().operators[0].key_sha256, digest);
    for wrong in [
        "",
        &digest[1..],
        &digest.to_uppercase(),
        &digest.replace('a', "g"),
    ] {
        let refused = named(wrong);
        assert!(
            matches!(refused, Err(ConfigError::KeyDigest { .. })),
            "{wrong}"
        );
    }
}

#[test]
fn a_tpm_is_described_by_its_tcti_and_pcrs_that_cannot_be_reset() {
    let load = |more: &str| {
        let tpm = format!("{{tpm2: {{tcti: 'device:/dev/tpmrm0'{more}}}}}");
        load_sealed(&tpm, "").map(|config| config.sealing)
    };
    let Ok(Sealing::Tpm2(tpm)) = load("") else {
        panic!("no TPM")
    };
    assert_eq!((tpm.measurement_pcr, tpm.authority_pcr), (12, 15));
    assert_eq!(tpm.tcti, Tcti::Device("/dev/tpmrm0".into()));
    for wrong in [
        ", host_pcrs: [0, 16]",
        ", host_pcrs: [24]",
        ", quoted_pcrs: [24]",
    ] {
        let refused = load(wrong);
        assert!(matches!(refused, Err(ConfigError::Pcr { .. })), "{wrong}");
    }
    for wrong in [
        ", measurement_pcr: 16",
        ", measurement_pcr: 17",
        ", authority_pcr: 22",
        ", authority_pcr: 24",
    ] {
        let refused = load(wrong);
        let is_it = matches!(refused, Err(ConfigError::Register { .. }));
        assert!(is_it, "{wrong}");
    }
    for wrong in [
        ", measurement_pcr: 15",
        ", host_pcrs: [12]",
        ", host_pcrs: [15]",
        ", quoted_pcrs: [12]",
        ", quoted_pcrs: [15]",
        ", host_pcrs: [0, 7], quoted_pcrs: [7]",
    ] {
        let refused = load(wrong);
        assert!(matches!(refused, Err(ConfigError::SharedPcr)), "{wrong}");
    }
    assert!(load(", host_pcrs: [0, 4, 7], quoted_pcrs: [1, 2]").is_ok());
    assert!(matches!(
        load(", mesurement_pcr: 12"),
        Err(ConfigError::Malformed { .. })
    ));
}

#[test]
fn other_ways_to_a_tpm_are_refused() {
    let tcti = |text: &str| Tcti::try_from(text.to_owned());
    assert_eq!(
        tcti("swtpm:host=127.0.0.1,port=2321"),
        Ok(Tcti::Swtpm {
            host: [127, 0, 0, 1].into(),
            port: 2321
        })
    );
    for wrong in [
        "",
        "device:tpm0",
        "tabrmd:",
        "mssim:host=127.0.0.1,port=2321",
        "swtpm:host=localhost,port=2321",
        "swtpm:host=127.0.0.1,port=65535",
        "swtpm:port=2321",
    ] {
        assert!(tcti(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_token_has_its_pin_from_a_file_or_the_terminal_and_there_is_one_back_end() {
    let token = |pin: &str| {
        load_sealed(
            &format!("{{pkcs11: {{module: /m.so, token: t, pin: {pin}}}}}"),
            "",
        )
    };
    for (pin, source) in [
        ("prompt", PinSource::Prompt),
        ("{file: /p}", PinSource::File("/p".into())),
    ] {
        let Sealing::Pkcs11(token) = token(pin).unwrap().sealing else {
            panic!("no token")
        };
        assert_eq!(token.pin, source);
    }
    assert!(token("'1234'").is_err());
    let connects = token("prompt, connects: unix");
    let Sealing::Pkcs11(connects) = connects.unwrap().sealing else {
        panic!("no token")
    };
    assert_eq!(connects.connects, Some(Connects::Unix));
    assert!(token("prompt, connects: vsock").is_err());
    let both = "{key_file: /x, pkcs11: {module: /m.so, token: t, pin: prompt}}";
    assert!(load_sealed(both, "").is_err());
}
