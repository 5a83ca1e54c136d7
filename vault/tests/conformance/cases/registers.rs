//! Registers: the only way is forward.

use aws_lc_rs::digest::{SHA384, digest};
use bartizan_vault::registers::Register;

use crate::rig::{Rig, Store};

pub(super) fn registers_are_extended(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let mut expected = [0; 48];
    assert_eq!(backend.registers().unwrap().measurement, expected);
    for step in 0..5_u8 {
        let measured = [step; 48];
        backend.extend(Register::Measurement, &measured).unwrap();
        expected = reference(&expected, &measured);
        let values = backend.registers().unwrap();
        assert_eq!(values.measurement, expected);
        assert_eq!(values.authority, [0; 48]);
    }
}

pub(super) fn registers_are_each_their_own(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let (one, other) = ([1; 48], [2; 48]);
    backend.extend(Register::Authority, &one).unwrap();
    backend.extend(Register::Measurement, &other).unwrap();
    let values = backend.registers().unwrap();
    assert_eq!(values.authority, reference(&[0; 48], &one));
    assert_eq!(values.measurement, reference(&[0; 48], &other));
}

fn reference(old: &[u8; 48], new: &[u8; 48]) -> [u8; 48] {
    let hashed = digest(&SHA384, &[old.as_slice(), new].concat());
    hashed.as_ref().try_into().unwrap()
}
