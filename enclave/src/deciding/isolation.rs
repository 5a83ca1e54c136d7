//! Which VMs are cut from every network, in whichever boot: by the verifier's commands, and by what devices say where they remember more than
//! this enclave, which may have been started since.
//!
//! Known attack: whoever ends the enclave's machine has an isolated guest back on its network. Devices cut it off on and on, and say so to the
//! next enclave.

use std::collections::BTreeSet;

use crate::sealed::MAX_ISOLATED;

/// A VM's UUID.
type Vm = [u8; 16];

/// Most VMs of either kind that are remembered: as many as the sealed state has room for.
const MOST: usize = MAX_ISOLATED;

/// Who is cut off, and who is not any more.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    cut: BTreeSet<Vm>,
    /// Since this enclave was started, so that devices which did not hear of it are told.
    released: BTreeSet<Vm>,
}

/// What became of cutting a guest off, or of taking that back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolated {
    /// It is so.
    Done,
    /// No such guest runs, and none was cut off.
    NoGuest,
    /// As many VMs are cut off as can be remembered.
    TooMany,
}

impl Isolation {
    /// Cuts a VM off.
    pub(super) fn cut(&mut self, vm: Vm) -> Isolated {
        if self.cut.len() >= MOST && !self.cut.contains(&vm) {
            return Isolated::TooMany;
        }
        self.cut.insert(vm);
        self.released.remove(&vm);
        Isolated::Done
    }

    /// Takes that back, of a VM that runs or does not.
    pub(super) fn release(&mut self, vm: Vm, runs: bool) -> Isolated {
        let was_cut = self.cut.remove(&vm);
        if !was_cut && !runs {
            return Isolated::NoGuest;
        }
        if self.released.len() < MOST {
            self.released.insert(vm);
        }
        Isolated::Done
    }

    /// Devices cut a VM off: whether they are to go on.
    pub(super) fn heard(&mut self, vm: Vm) -> bool {
        // Where it cannot be remembered, devices do.
        !self.released.contains(&vm) && {
            self.cut(vm);
            true
        }
    }

    /// Who is cut off.
    pub(super) const fn all(&self) -> &BTreeSet<Vm> {
        &self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_word_holds_until_it_was_taken_back_here() {
        let (mut isolation, vm) = (Isolation::default(), [1; 16]);
        assert!(isolation.heard(vm) && isolation.all().contains(&vm));
        assert_eq!(isolation.release(vm, false), Isolated::Done);
        assert!(!isolation.heard(vm) && !isolation.all().contains(&vm));
        assert_eq!(isolation.cut(vm), Isolated::Done);
        assert!(isolation.heard(vm) && isolation.all().contains(&vm));
    }

    #[test]
    fn nobody_is_released_who_is_not_there() {
        let mut isolation = Isolation::default();
        assert_eq!(isolation.release([1; 16], false), Isolated::NoGuest);
        // Devices may cut it off, and not have said so yet.
        assert_eq!(isolation.release([1; 16], true), Isolated::Done);
        assert!(!isolation.heard([1; 16]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut isolation = Isolation::default();
        let vm = |number: usize| (number as u128).to_be_bytes();
        for number in 0..MOST {
            assert_eq!(isolation.cut(vm(number)), Isolated::Done);
        }
        assert_eq!(isolation.cut(vm(MOST)), Isolated::TooMany);
        assert!(isolation.heard(vm(MOST)), "devices go on");
        assert_eq!(isolation.cut(vm(0)), Isolated::Done);
        for number in 0..MOST + 9 {
            isolation.release(vm(number), true);
        }
        assert_eq!(isolation.released.len(), MOST);
        assert_eq!(isolation.cut(vm(MOST)), Isolated::Done);
    }
}
