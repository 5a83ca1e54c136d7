//! What a new back end is told, and in which order.

use std::os::fd::OwnedFd;

use super::record::{RecordedRing, Signal};
use super::{Header, MemoryError, Recorded, Request, Ring};

/// A message to be sent again.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Its header.
    pub header: Header,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its descriptors.
    pub descriptors: &'a [OwnedFd],
}

impl Recorded {
    /// Every message that brings a new back end to where the old one was, in the order in which a
    /// front end sends them. A ring's base is its [`Recorded::position`].
    pub fn repeat(&self) -> Result<Vec<Outgoing<'_>>, MemoryError> {
        let mut messages = Vec::new();
        if self.owned {
            messages.push(outgoing(Request::SetOwner, Vec::new(), &[]));
        }
        if let Some(features) = self.features {
            messages.push(outgoing(
                Request::SetFeatures,
                features.to_ne_bytes().to_vec(),
                &[],
            ));
        }
        if let Some(features) = self.protocol_features {
            let payload = features.to_ne_bytes().to_vec();
            messages.push(outgoing(Request::SetProtocolFeatures, payload, &[]));
        }
        if let Some(memory) = &self.memory {
            let payload = memory.payload().to_vec();
            messages.push(outgoing(
                Request::SetMemoryTable,
                payload,
                memory.descriptors(),
            ));
        }
        for (index, ring) in &self.rings {
            let base = (ring.base.is_some() || ring.kick.is_some())
                .then(|| self.position(*index))
                .transpose()?;
            repeat_ring(&mut messages, *index, ring, base);
        }
        Ok(messages)
    }

    /// The descriptors by which the two ends of running rings wake one another. A wake-up that the
    /// old back end took with it, or owed, is made good by one too many.
    pub fn wakers(&self) -> impl Iterator<Item = &OwnedFd> {
        self.rings
            .values()
            .filter(|ring| ring.kick.is_some())
            .flat_map(|ring| [&ring.kick, &ring.call])
            .filter_map(|signal| signal.as_ref()?.descriptor.as_ref())
    }
}

fn repeat_ring<'a>(
    messages: &mut Vec<Outgoing<'a>>,
    index: u8,
    ring: &'a RecordedRing,
    base: Option<u32>,
) {
    let mut number = |request, number: Option<u32>| {
        if let Some(number) = number {
            messages.push(outgoing(request, Ring { index, number }.bytes(), &[]));
        }
    };
    number(Request::SetRingSize, ring.size);
    number(Request::SetRingBase, base);
    if let Some(addresses) = ring.addresses {
        messages.push(outgoing(Request::SetRingAddresses, addresses.bytes(), &[]));
    }
    let signals = [
        (Request::SetRingCall, &ring.call),
        (Request::SetRingError, &ring.error),
        (Request::SetRingKick, &ring.kick),
    ];
    for (request, signal) in signals {
        if let Some(Signal { number, descriptor }) = signal {
            let payload = number.to_ne_bytes().to_vec();
            messages.push(outgoing(request, payload, descriptor.as_slice()));
        }
    }
    if let Some(number) = ring.enable {
        messages.push(outgoing(
            Request::SetRingEnable,
            Ring { index, number }.bytes(),
            &[],
        ));
    }
}

fn outgoing(request: Request, payload: Vec<u8>, descriptors: &[OwnedFd]) -> Outgoing<'_> {
    Outgoing {
        header: Header::new(request, payload.len()),
        payload,
        descriptors,
    }
}
