use proptest::prelude::*;

use super::*;
use crate::qemu::ram::RamFile;

fn table(regions: &[[u64; 4]]) -> Vec<u8> {
    let mut payload = u64::try_from(regions.len()).unwrap().to_ne_bytes().to_vec();
    for number in regions.iter().flatten() {
        payload.extend_from_slice(&number.to_ne_bytes());
    }
    payload
}

fn duplicate(file: impl AsFd) -> OwnedFd {
    file.as_fd().try_clone_to_owned().unwrap()
}

#[test]
fn used_index_is_read_where_the_region_lies_in_the_file() {
    let ram = RamFile::create(1 << 20).unwrap();
    rustix::io::pwrite(&ram, &777u16.to_le_bytes(), 0x9002).unwrap();
    let payload = table(&[
        [0, 0x1000, 0x7000_0000, 0],
        [1 << 32, 0x2000, 0x7100_0000, 0x8000],
    ]);
    let table = MemoryTable::new(payload, vec![duplicate(&ram), duplicate(&ram)], &ram).unwrap();
    assert_eq!(table.used_index(0x7100_1000).unwrap(), 777);
    assert!(matches!(
        table.used_index(0x7100_1ffe),
        Err(MemoryError::Unmapped(_))
    ));
    assert!(matches!(
        table.used_index(0x7200_0000),
        Err(MemoryError::Unmapped(_))
    ));
    assert!(matches!(
        table.used_index(u64::MAX),
        Err(MemoryError::Unmapped(_))
    ));
}

#[test]
fn another_file_is_never_shared() {
    let (ram, other) = (
        RamFile::create(4096).unwrap(),
        RamFile::create(4096).unwrap(),
    );
    let payload = table(&[[0, 4096, 0, 0]]);
    let refused = MemoryTable::new(payload.clone(), vec![duplicate(&other)], &ram);
    assert!(matches!(refused, Err(MemoryError::ForeignFile)));
    assert!(matches!(
        MemoryTable::new(payload, vec![], &ram),
        Err(MemoryError::Malformed)
    ));
}

proptest! {
    #[test]
    fn any_table_is_judged_without_a_panic(payload: Vec<u8>, address: u64) {
        if let Some(regions) = regions(&payload) {
            prop_assert!(regions.len() <= MAX_REGIONS);
            for region in regions {
                let _ = region.translate(address);
            }
        }
    }
}
