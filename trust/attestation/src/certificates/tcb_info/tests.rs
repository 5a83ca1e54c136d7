use proptest::prelude::*;

use super::*;

const VAULT: VaultKind = VaultKind::Software;

#[test]
fn the_bytes_are_those_of_the_standard() {
    let info = TcbInfo {
        vault: VAULT,
        launch_measurement: None,
        phases: Vec::new(),
    };
    let der = info.encode().unwrap();
    // SEQUENCE, [0] "Bartizan", [9] "development".
    assert_eq!(
        hex::encode(&der),
        "3017800842617274697a616e890b646576656c6f706d656e74"
    );
    let info = TcbInfo {
        launch_measurement: Some(Digest(vec![0xab; 48])),
        ..info
    };
    let der = hex::encode(info.encode().unwrap());
    // [6] { SEQUENCE { id-sha384, OCTET STRING } } between the two.
    let fwids = format!(
        "a63f303d0609608648016503040202{}{}",
        "0430",
        "ab".repeat(48)
    );
    assert_eq!(
        der,
        format!("3058800842617274697a616e{fwids}890b646576656c6f706d656e74")
    );
}

#[test]
fn another_asn1_reader_agrees() {
    use x509_parser::der_parser::der::parse_der;
    let info = TcbInfo {
        vault: VAULT,
        launch_measurement: Some(Digest(vec![1; 48])),
        phases: Vec::new(),
    };
    let der = info.encode().unwrap();
    let (rest, object) = parse_der(&der).unwrap();
    assert!(rest.is_empty());
    assert_eq!(object.as_sequence().unwrap().len(), 3);
}

#[test]
fn digests_of_other_lengths_are_refused() {
    for length in [0, 32, 64, 200] {
        let info = TcbInfo {
            vault: VAULT,
            launch_measurement: Some(Digest(vec![0; length])),
            phases: Vec::new(),
        };
        assert_eq!(info.encode(), Err(TcbInfoError::LaunchMeasurement(length)));
    }
}

#[test]
fn the_phases_are_integrity_registers() {
    let info = TcbInfo {
        vault: VAULT,
        launch_measurement: None,
        phases: vec![Sha384([1; 48]), Sha384([2; 48])],
    };
    let der = hex::encode(info.encode().unwrap());
    let register = |name: &str, number, digest: &str| {
        let name = format!("80{:02x}{}", name.len(), hex::encode(name));
        let fwid = format!("a23f303d06096086480165030402020430{}", digest.repeat(48));
        let members = format!("{name}8101{number:02x}{fwid}");
        format!("30{:02x}{members}", members.len() / 2)
    };
    let registers = register("card", 1, "01") + &register("devices", 2, "02");
    let registers = format!("ab81{:02x}{registers}", registers.len() / 2);
    assert!(der.ends_with(&registers), "{der}");
    let many = TcbInfo {
        phases: vec![Sha384::ZERO; 6],
        ..info
    };
    assert_eq!(many.encode(), Err(TcbInfoError::Phases(6)));
}

#[test]
fn an_unknown_vault_is_told_apart() {
    let mut der = TcbInfo {
        vault: VAULT,
        launch_measurement: None,
        phases: Vec::new(),
    }
    .encode()
    .unwrap();
    let last = der.len() - 1;
    der[last] = b'T';
    assert_eq!(TcbInfo::decode(&der), Err(TcbInfoError::UnknownVault));
}

proptest! {
    #[test]
    fn round_trip(
        vault in prop::sample::select(VaultKind::ALL.to_vec()),
        digest in prop::option::of(prop::collection::vec(any::<u8>(), 48)),
        phases in prop::collection::vec(prop::array::uniform32(any::<u8>()), 0..=5),
    ) {
        let phases = phases.iter().map(|seed| Sha384::of(seed)).collect();
        let info = TcbInfo { vault, launch_measurement: digest.map(Digest), phases };
        prop_assert_eq!(TcbInfo::decode(&info.encode().unwrap()), Ok(info));
    }

    /// Whatever is read has this one encoding.
    #[test]
    fn reading_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let phases = vec![Sha384::ZERO; 5];
        let mut der = TcbInfo { vault: VAULT, launch_measurement: Some(Digest(vec![1; 48])), phases }
            .encode()
            .unwrap();
        let at = at.index(der.len());
        der[at] = byte;
        for der in [bytes, der] {
            if let Ok(info) = TcbInfo::decode(&der) {
                prop_assert_eq!(info.encode().unwrap(), der);
            }
        }
    }
}
