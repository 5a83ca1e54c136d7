use proptest::prelude::*;

use super::*;

fn record(id: u8, not_after: u64) -> Record {
    Record {
        purpose: Purpose::Token,
        id: [id; 32].into(),
        public: Vec::new().into(),
        blob: vec![id].into(),
        chain: Vec::new(),
        not_after,
    }
}

#[test]
fn keys_are_there_again_after_a_restart_and_gone_after_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let mut keyring = Keyring::open(&path).unwrap();
    keyring.add(record(1, 100), 50).unwrap();
    keyring.add(record(2, 200), 60).unwrap();
    let again = Keyring::open(&path).unwrap();
    assert_eq!(again.records(), keyring.records());
    assert_eq!(again.salt(), keyring.salt());
    assert_eq!(*again.newest(Purpose::Token).unwrap().id, [2; 32]);
    keyring.add(record(3, 300), 101).unwrap();
    let left: Vec<_> = keyring
        .records()
        .iter()
        .map(|record| record.id[0])
        .collect();
    assert_eq!(left, [2, 3]);
}

#[test]
fn a_damaged_store_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    drop(Keyring::open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    assert!(matches!(
        Keyring::open(&path),
        Err(KeyringError::Damaged { .. })
    ));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _parsed = Keyring::parse(&bytes);
    }
}
