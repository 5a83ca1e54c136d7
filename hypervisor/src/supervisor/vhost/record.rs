//! What QEMU has set so far: all that a new back end must be told.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use super::{MemoryError, MemoryTable, Message, MessageError, Request, Ring, RingAddresses};

/// Bit of a descriptor message's number that says that there is no descriptor.
const NO_DESCRIPTOR: u64 = 1 << 8;

/// What QEMU has set so far.
#[derive(Debug, Default)]
pub struct Recorded {
    pub(super) owned: bool,
    pub(super) features: Option<u64>,
    pub(super) protocol_features: Option<u64>,
    pub(super) memory: Option<MemoryTable>,
    pub(super) rings: BTreeMap<u8, RecordedRing>,
}

/// What QEMU has set of one ring.
#[derive(Debug, Default)]
pub(super) struct RecordedRing {
    pub(super) size: Option<u32>,
    pub(super) addresses: Option<RingAddresses>,
    pub(super) base: Option<u32>,
    pub(super) kick: Option<Signal>,
    pub(super) call: Option<Signal>,
    pub(super) error: Option<Signal>,
    pub(super) enable: Option<u32>,
}

/// A descriptor message: its number, and its descriptor where it has one.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) number: u64,
    pub(super) descriptor: Option<OwnedFd>,
}

/// A message that must not be relayed: QEMU has been taken over, or is not understood.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is malformed.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// It shares what is not the guest's RAM, or points outside it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl Recorded {
    /// Keeps what `message` sets; `ram` is the guest's RAM file.
    pub fn record(&mut self, message: &mut Message, ram: impl AsFd) -> Result<(), RecordError> {
        match message.header.request {
            Request::SetOwner => self.owned = true,
            Request::ResetOwner => {
                self.owned = false;
                self.rings.clear();
            }
            Request::SetFeatures => self.features = Some(message.number()?),
            Request::SetProtocolFeatures => self.protocol_features = Some(message.number()?),
            Request::SetMemoryTable => {
                let descriptors = duplicate(&message.descriptors)?;
                self.memory = Some(MemoryTable::new(message.payload.clone(), descriptors, ram)?);
            }
            Request::SetRingSize => {
                let Ring { index, number } = message.ring()?;
                self.ring(index).size = Some(number);
            }
            Request::SetRingBase => {
                let Ring { index, number } = message.ring()?;
                self.ring(index).base = Some(number);
            }
            Request::SetRingEnable => {
                let Ring { index, number } = message.ring()?;
                self.ring(index).enable = Some(number);
            }
            Request::SetRingAddresses => {
                let addresses = message.ring_addresses()?;
                self.ring(addresses.index).addresses = Some(addresses);
            }
            Request::SetRingKick => {
                let (index, signal) = signal(message)?;
                self.ring(index).kick = Some(signal);
            }
            Request::SetRingCall => {
                let (index, signal) = signal(message)?;
                self.ring(index).call = Some(signal);
            }
            Request::SetRingError => {
                let (index, signal) = signal(message)?;
                self.ring(index).error = Some(signal);
            }
            Request::GetRingBase => drop(message.ring()?),
            Request::GetFeatures
            | Request::GetProtocolFeatures
            | Request::GetQueueNumber
            | Request::GetConfig => {}
        }
        Ok(())
    }

    /// Keeps that a ring was stopped at `base` (the answer to `VHOST_USER_GET_VRING_BASE`).
    pub fn stopped(&mut self, Ring { index, number }: Ring) {
        let ring = self.ring(index);
        ring.base = Some(number);
        ring.kick = None;
        ring.call = None;
    }

    /// Where a new back end begins in a ring: behind what the guest has been told is done, where the
    /// ring runs, else where QEMU set it.
    pub fn position(&self, index: u8) -> Result<u32, MemoryError> {
        let Some(ring) = self.rings.get(&index) else {
            return Ok(0);
        };
        match (&ring.kick, &ring.addresses, &self.memory) {
            (Some(_), Some(addresses), Some(memory)) => {
                Ok(memory.used_index(addresses.used)?.into())
            }
            _ => Ok(ring.base.unwrap_or(0)),
        }
    }

    /// The answer to `message` (recorded already) that needs no back end, where there is one: QEMU can
    /// stop and start the guest while the devices process is away.
    pub fn answer(&mut self, message: &Message) -> Result<Option<Message>, RecordError> {
        let request = message.header.request;
        Ok(match request {
            Request::GetRingBase => {
                let index = message.ring()?.index;
                let stopped = Ring {
                    index,
                    number: self.position(index)?,
                };
                self.stopped(stopped);
                Some(Message::answer(request, stopped.bytes()))
            }
            _ if request.is_question() => None,
            _ => Some(Message::answer(request, 0u64.to_ne_bytes().to_vec())),
        })
    }

    fn ring(&mut self, index: u8) -> &mut RecordedRing {
        self.rings.entry(index).or_default()
    }
}

fn signal(message: &Message) -> Result<(u8, Signal), RecordError> {
    let malformed = MessageError::PayloadSize(message.header.request);
    let number = message.number()?;
    let index = u8::try_from(number & !NO_DESCRIPTOR).map_err(|_| malformed)?;
    let descriptor = duplicate(&message.descriptors)?.pop();
    if descriptor.is_none() != (number & NO_DESCRIPTOR != 0) {
        return Err(malformed.into());
    }
    Ok((index, Signal { number, descriptor }))
}

fn duplicate(descriptors: &[OwnedFd]) -> Result<Vec<OwnedFd>, MemoryError> {
    Ok(descriptors
        .iter()
        .map(OwnedFd::try_clone)
        .collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
