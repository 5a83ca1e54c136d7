//! Writing a packet into a guest's rx ring.

use super::header::{HEADER_LEN, feature};
use super::packet::Packet;
use crate::vhost_user::{Buffers, PiecesError, Ring, View};

/// Most buffers that one packet is laid into.
const MOST_BUFFERS: usize = 64;

/// A packet is not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The guest has offered too few buffers yet.
    #[error("the guest offers no room")]
    NoRoom,
    /// What it offers never suffices.
    #[error("the guest's buffers are too small for the packet")]
    TooSmall,
    /// The buffers cannot be written.
    #[error(transparent)]
    Pieces(#[from] PiecesError),
}

/// Lays a packet into the next buffers of a ring, of a driver with these features. Where there is no room nothing is taken.
pub fn deliver(
    ring: &mut Ring,
    view: &View<'_>,
    features: u64,
    packet: &Packet,
) -> Result<(), DeliverError> {
    let wanted = HEADER_LEN + packet.bytes.len();
    let most = if features & feature::MERGEABLE != 0 {
        MOST_BUFFERS
    } else {
        1
    };
    let Some(first) = ring.pop(view) else {
        return Err(DeliverError::NoRoom);
    };
    let header = |buffers| packet.work.header(&packet.frame).to_bytes(buffers);
    let mut first = Buffers::of(first);
    if first.room() >= wanted {
        let written = first.write(&header(1));
        let written = written.and_then(|()| first.write(&packet.bytes));
        // What was written of it in vain is no frame.
        let length = written.as_ref().map_or(0, |()| wanted);
        let length = u32::try_from(length).unwrap_or(0);
        ring.add_used(view, &[(first.head_index(), length)]);
        return Ok(written?);
    }
    let mut offered = first.room();
    let mut chains = vec![first];
    while offered < wanted {
        let Some(chain) = (chains.len() < most).then(|| ring.pop(view)).flatten() else {
            // Without merging, or with as many as there may be, waiting helps nothing.
            let is_full = chains.len() >= most;
            return Err(leave(ring, view, &chains, is_full));
        };
        let chain = Buffers::of(chain);
        offered = offered.saturating_add(chain.room());
        chains.push(chain);
    }
    let buffers = u16::try_from(chains.len()).unwrap_or(1);
    let bytes = [header(buffers).as_slice(), &packet.bytes].concat();
    let mut left = bytes.as_slice();
    let mut used = Vec::with_capacity(chains.len());
    let mut written = Ok(());
    for mut chain in chains {
        let (now, later) = left.split_at(chain.room().min(left.len()));
        used.push((chain.head_index(), u32::try_from(now.len()).unwrap_or(0)));
        written = written.and_then(|()| chain.write(now));
        left = later;
    }
    if written.is_err() {
        // What was written of it is no frame.
        used.iter_mut().for_each(|(_, length)| *length = 0);
    }
    ring.add_used(view, &used);
    Ok(written?)
}

/// Without delivering: puts chains back, or, where they never suffice, gives them back unused.
fn leave(
    ring: &mut Ring,
    view: &View<'_>,
    chains: &[Buffers<'_, '_>],
    is_full: bool,
) -> DeliverError {
    if is_full {
        for chain in chains {
            ring.add_used(view, &[(chain.head_index(), 0)]);
        }
        return DeliverError::TooSmall;
    }
    for _ in chains {
        ring.unpop();
    }
    DeliverError::NoRoom
}
