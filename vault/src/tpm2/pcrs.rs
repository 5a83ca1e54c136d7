//! The PCRs that are registers, and those of the host: all of the SHA-384 bank.

use std::collections::BTreeMap;

use bartizan_attestation::boot::Sha384;
use tss_esapi::Context;
use tss_esapi::handles::PcrHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{DigestValues, PcrSelectionList, PcrSlot};

use super::handles::authorised;
use super::unexpected;
use crate::backend::BackendError;
use crate::config::TpmConfig;
use crate::registers::{Register, RegisterValues};

/// By number.
const HANDLES: [PcrHandle; 24] = [
    PcrHandle::Pcr0,
    PcrHandle::Pcr1,
    PcrHandle::Pcr2,
    PcrHandle::Pcr3,
    PcrHandle::Pcr4,
    PcrHandle::Pcr5,
    PcrHandle::Pcr6,
    PcrHandle::Pcr7,
    PcrHandle::Pcr8,
    PcrHandle::Pcr9,
    PcrHandle::Pcr10,
    PcrHandle::Pcr11,
    PcrHandle::Pcr12,
    PcrHandle::Pcr13,
    PcrHandle::Pcr14,
    PcrHandle::Pcr15,
    PcrHandle::Pcr16,
    PcrHandle::Pcr17,
    PcrHandle::Pcr18,
    PcrHandle::Pcr19,
    PcrHandle::Pcr20,
    PcrHandle::Pcr21,
    PcrHandle::Pcr22,
    PcrHandle::Pcr23,
];

#[derive(Clone, Debug)]
pub(super) struct Pcrs {
    measurement: u8,
    authority: u8,
    host: Vec<u8>,
    /// Quoted beside the host's, and bound to no key.
    unbound: Vec<u8>,
}

impl Pcrs {
    pub(super) fn new(config: &TpmConfig) -> Self {
        Self {
            measurement: config.measurement_pcr,
            authority: config.authority_pcr,
            host: config.host_pcrs.clone(),
            unbound: config.quoted_pcrs.clone(),
        }
    }

    /// Those that keys are bound to, in ascending order.
    pub(super) fn bound_numbers(&self) -> Vec<u8> {
        let mut numbers = [&[self.authority], &*self.host].concat();
        numbers.sort_unstable();
        numbers
    }

    pub(super) fn bound(&self) -> Result<PcrSelectionList, BackendError> {
        selection(&self.bound_numbers())
    }

    /// Those that are quoted.
    pub(super) fn quoted(&self) -> Result<PcrSelectionList, BackendError> {
        selection(&self.quoted_numbers())
    }

    /// What those hold.
    pub(super) fn values(
        &self,
        context: &mut Context,
    ) -> Result<BTreeMap<u8, Sha384>, BackendError> {
        let read = |number| Ok((number, self.read_one(context, number)?));
        self.quoted_numbers().into_iter().map(read).collect()
    }

    fn quoted_numbers(&self) -> Vec<u8> {
        let registers = [self.measurement, self.authority];
        [&registers, &*self.host, &*self.unbound].concat()
    }

    pub(super) fn extend(
        &self,
        context: &mut Context,
        register: Register,
        digest: &Sha384,
    ) -> Result<(), BackendError> {
        let number = match register {
            Register::Measurement => self.measurement,
            Register::Authority => self.authority,
        };
        let handle = *HANDLES.get(usize::from(number)).ok_or_else(unexpected)?;
        let mut digests = DigestValues::new();
        digests.set(HashingAlgorithm::Sha384, digest.0.to_vec().try_into()?);
        // A TPM without the bank extends nothing, and says that all is well.
        self.read(context)?;
        authorised(context, |context| Ok(context.pcr_extend(handle, digests)?))
    }

    pub(super) fn read(&self, context: &mut Context) -> Result<RegisterValues, BackendError> {
        Ok(RegisterValues {
            measurement: self.read_one(context, self.measurement)?,
            authority: self.read_one(context, self.authority)?,
        })
    }

    fn read_one(&self, context: &mut Context, number: u8) -> Result<Sha384, BackendError> {
        let (_, _, digests) = context.pcr_read(selection(&[number])?)?;
        let [digest] = digests.value() else {
            let pcrs = vec![self.measurement, self.authority];
            return Err(BackendError::NoBank { pcrs });
        };
        digest
            .value()
            .try_into()
            .map(Sha384)
            .map_err(|_| unexpected())
    }
}

fn selection(numbers: &[u8]) -> Result<PcrSelectionList, BackendError> {
    let mut slots = Vec::new();
    for number in numbers {
        let bit = 1_u32.checked_shl((*number).into()).ok_or_else(unexpected)?;
        slots.push(PcrSlot::try_from(bit)?);
    }
    let builder = PcrSelectionList::builder().with_selection(HashingAlgorithm::Sha384, &slots);
    Ok(builder.build()?)
}
