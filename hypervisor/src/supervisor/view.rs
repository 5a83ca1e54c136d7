//! What of a guest can be seen from outside at any time.

use bartizan_attestation::host::{Enrollment, GuestState};

/// The part of a guest's status that changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Its state.
    pub state: GuestState,
    /// Its QEMU's pid, while there is one.
    pub qemu_pid: Option<u32>,
    /// Its measurer's pid, while there is one.
    pub measurer_pid: Option<u32>,
    /// The enrolled key, once there is one.
    pub enrollment: Option<Enrollment>,
    /// The measurer's newest CSR that has no certificate yet (PKCS#10, DER).
    pub certificate_needed: Option<Vec<u8>>,
}

impl View {
    /// Before QEMU runs.
    pub const INITIAL: Self = Self {
        state: GuestState::Booting,
        qemu_pid: None,
        measurer_pid: None,
        enrollment: None,
        certificate_needed: None,
    };
}
