//! Registers: the only way is forward.

use aws_lc_rs::digest::{SHA384, digest};
use bartizan_attestation::boot::Sha384;
use bartizan_vault::registers::Register;

use crate::rig::{Rig, Store};

pub(super) fn registers_are_extended(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let mut expected = Sha384::ZERO;
    assert_eq!(backend.registers().unwrap().measurement, expected);
    for step in 0..5_u8 {
        let measured = Sha384([step; 48]);
        backend.extend(Register::Measurement, &measured).unwrap();
        expected = reference(&expected, &measured);
        let values = backend.registers().unwrap();
        assert_eq!(values.measurement, expected);
        assert_eq!(values.authority, Sha384::ZERO);
    }
}

pub(super) fn registers_are_each_their_own(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let (one, other) = (Sha384([1; 48]), Sha384([2; 48]));
    backend.extend(Register::Authority, &one).unwrap();
    backend.extend(Register::Measurement, &other).unwrap();
    let values = backend.registers().unwrap();
    assert_eq!(values.authority, reference(&Sha384::ZERO, &one));
    assert_eq!(values.measurement, reference(&Sha384::ZERO, &other));
}

fn reference(old: &Sha384, new: &Sha384) -> Sha384 {
    let hashed = digest(&SHA384, &[old.0, new.0].concat());
    Sha384(hashed.as_ref().try_into().unwrap())
}
