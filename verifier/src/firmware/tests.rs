use super::*;

fn pcrs(values: &[(u8, u8)]) -> PcrValues {
    let values = values.iter();
    values
        .map(|&(pcr, byte)| (pcr, Sha384([byte; 48])))
        .collect()
}

fn reference(name: &str, values: &[(u8, u8)]) -> FirmwareReference {
    let pcrs = pcrs(values);
    FirmwareReference {
        id: FirmwareReference::id_of(&pcrs),
        name: name.into(),
        pcrs,
        operator: "ann".into(),
        registered_at_ms: 1,
        retired: None,
    }
}

fn demanded(pcrs: &[u8]) -> FirmwarePcrs {
    pcrs.iter()
        .copied()
        .collect::<std::collections::BTreeSet<_>>()
        .try_into()
        .unwrap()
}

#[test]
fn a_reference_is_met_by_all_of_its_values() {
    let references = [
        reference("old", &[(0, 1), (4, 1), (7, 7)]),
        reference("new", &[(0, 2), (4, 2), (7, 7)]),
        reference("secure boot alone", &[(7, 7)]),
    ];
    let found = |quoted: &[(u8, u8)], demand: Option<&FirmwarePcrs>| {
        let matched = matched(&pcrs(quoted), &references, demand);
        matched.map(|reference| reference.name.clone())
    };
    let all = demanded(&[0, 7]);
    let new = [(0, 2), (4, 2), (7, 7), (9, 9)];
    assert_eq!(found(&new, Some(&all)).unwrap(), "new");
    // One that says nothing of a demanded PCR does not count.
    let other = [(0, 3), (4, 2), (7, 7)];
    match found(&other, Some(&all)) {
        Err(FirmwareError::OtherFirmware {
            pcr: 0,
            expected,
            found,
            reference,
        }) => {
            assert_eq!((expected, found), (Sha384([2; 48]), Sha384([3; 48])));
            assert_eq!(reference, "new");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(found(&other, None).unwrap(), "secure boot alone");
    // All of a reference is meant, the PCRs that are not demanded too.
    let without = [(0, 2), (7, 7)];
    assert!(matches!(
        found(&without, Some(&all)),
        Err(FirmwareError::NotQuoted(4))
    ));
    let changed = [(0, 2), (4, 9), (7, 7)];
    assert!(matches!(
        found(&changed, Some(&all)),
        Err(FirmwareError::OtherFirmware { pcr: 4, .. })
    ));
    let of_another = demanded(&[2]);
    assert!(matches!(
        found(&new, Some(&of_another)),
        Err(FirmwareError::NoReference)
    ));
}

#[test]
fn an_id_is_of_numbers_and_values() {
    let id = |values: &[(u8, u8)]| FirmwareReference::id_of(&pcrs(values));
    assert_eq!(id(&[(0, 1), (1, 2)]), id(&[(1, 2), (0, 1)]));
    for other in [&[(0, 1)][..], &[(0, 1), (2, 2)], &[(0, 1), (1, 3)], &[]] {
        assert_ne!(id(&[(0, 1), (1, 2)]), id(other));
    }
}
