//! Where a guest's kernel was found, for as long as the guest is up.

use std::sync::Arc;

use bartizan_guest_memory::{Gpa, PhysicalMemory};

use super::{Kernel, LocateError};
use crate::profile::KernelProfile;

/// The place of a guest's kernel, searched for once.
///
/// Known attack: root in the guest builds a counterfeit kernel in memory of its own and has the true one shut down, which
/// a driver can make last. A second search would find the counterfeit alone. So there is none: a kernel that is not up
/// where it was is an error until the guest boots anew, as another guest.
#[derive(Clone, Copy, Default, Debug)]
pub struct KernelPlace(Option<Gpa>);

impl KernelPlace {
    /// Where it was found before, if it was.
    #[must_use]
    pub const fn new(text: Option<Gpa>) -> Self {
        Self(text)
    }

    /// Where its image starts, once it was found.
    #[must_use]
    pub const fn text(self) -> Option<Gpa> {
        self.0
    }

    /// The kernel: where it was found, or, as long as it was not, wherever it is.
    ///
    /// # Errors
    ///
    /// [`LocateError`]; [`LocateError::Gone`] once it was found and is there no more.
    pub fn locate(
        &mut self,
        profile: &Arc<KernelProfile>,
        memory: &(impl PhysicalMemory + ?Sized),
    ) -> Result<Kernel, LocateError> {
        let Some(text) = self.0 else {
            let kernel = Kernel::locate(profile, memory)?;
            self.0 = Some(kernel.text());
            return Ok(kernel);
        };
        Kernel::at(profile, memory, text).map_err(|error| match error {
            LocateError::NotFound => LocateError::Gone { text },
            other => other,
        })
    }
}
