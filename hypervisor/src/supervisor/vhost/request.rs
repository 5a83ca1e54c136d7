//! Which requests of QEMU's are relayed.

/// A vhost-user request (vhost-user specification, "Front-end message types") that a vsock device needs;
/// every other is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Request {
    /// Which features the back end offers.
    GetFeatures = 1,
    /// Which of them the guest took.
    SetFeatures = 2,
    /// QEMU owns the session.
    SetOwner = 3,
    /// No longer; every ring is off.
    ResetOwner = 4,
    /// The guest's memory.
    SetMemoryTable = 5,
    /// Size of a ring.
    SetRingSize = 8,
    /// Addresses of a ring.
    SetRingAddresses = 9,
    /// Where the back end shall begin in a ring.
    SetRingBase = 10,
    /// Stop a ring and say where it stood.
    GetRingBase = 11,
    /// By what the guest wakes the back end.
    SetRingKick = 12,
    /// By what the back end wakes the guest.
    SetRingCall = 13,
    /// By what the back end tells of a ring's error.
    SetRingError = 14,
    /// Which protocol features the back end offers.
    GetProtocolFeatures = 15,
    /// Which of them QEMU took.
    SetProtocolFeatures = 16,
    /// How many rings the back end has.
    GetQueueNumber = 17,
    /// Switch a ring on or off.
    SetRingEnable = 18,
    /// Read the device's configuration space: its CID.
    GetConfig = 24,
}

impl Request {
    const ALL: [Self; 17] = [
        Self::GetFeatures,
        Self::SetFeatures,
        Self::SetOwner,
        Self::ResetOwner,
        Self::SetMemoryTable,
        Self::SetRingSize,
        Self::SetRingAddresses,
        Self::SetRingBase,
        Self::GetRingBase,
        Self::SetRingKick,
        Self::SetRingCall,
        Self::SetRingError,
        Self::GetProtocolFeatures,
        Self::SetProtocolFeatures,
        Self::GetQueueNumber,
        Self::SetRingEnable,
        Self::GetConfig,
    ];

    /// The request of that number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|request| request.number() == number)
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Whether it is always answered, not only where an acknowledgement is asked for.
    #[must_use]
    pub const fn is_question(self) -> bool {
        matches!(
            self,
            Self::GetFeatures
                | Self::GetRingBase
                | Self::GetProtocolFeatures
                | Self::GetQueueNumber
                | Self::GetConfig
        )
    }

    /// Most descriptors that come with it.
    #[must_use]
    pub const fn most_descriptors(self) -> usize {
        match self {
            Self::SetMemoryTable => super::memory::MAX_REGIONS,
            Self::SetRingKick | Self::SetRingCall | Self::SetRingError => 1,
            _ => 0,
        }
    }
}
