//! What became of the keys, in the store itself: whoever cannot make its seal cannot change it, and a change of the keys is on
//! disk together with what is said of it.

use bartizan_attestation::keys::{KeyEvent, KeyEventKind, KeyKind, VaultReply};
use minicbor::{Decode, Encode};

/// The last events of each kind of key: rotations of one kind push no event of another out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub(super) struct History {
    /// The next event's.
    #[n(0)]
    number: u64,
    /// The oldest first.
    #[n(1)]
    events: Vec<KeyEvent>,
}

impl History {
    pub(super) fn events(&self) -> &[KeyEvent] {
        &self.events
    }

    /// Adds an event; the oldest of its kind gives way where there are too many.
    pub(super) fn note(&mut self, at_s: u64, kind: KeyKind, id: [u8; 32], what: KeyEventKind) {
        let same = |event: &KeyEvent| event.kind == kind;
        let alike = self.events.iter().filter(|event| same(event)).count();
        if alike >= VaultReply::EVENTS_OF_A_KIND
            && let Some(oldest) = self.events.iter().position(same)
        {
            self.events.remove(oldest);
        }
        self.events.push(KeyEvent {
            number: self.number,
            at_s,
            kind,
            id: id.into(),
            what,
        });
        self.number = self.number.saturating_add(1);
    }
}
