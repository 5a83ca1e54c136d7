//! QEMU: what it is started with, and how it is spoken to.
//!
//! QEMU is hostile from the guest's first instruction on. It runs as a user of its own, in QEMU's own
//! seccomp sandbox and a control group with limits; it is given descriptors, not paths, so that its
//! user needs no right to any file; and what it says (QMP, console) is parsed with bounds.
//!
//! | module | concept |
//! |---|---|
//! | [`accelerator`] | KVM or TCG |
//! | [`files`] | the files of a launch record, hashed and handed over as descriptors |
//! | [`launch`] | a launch record made ready, and its measurement |
//! | [`ram`] | the guest's RAM file |
//! | [`layout`] | where that file lies in guest-physical addresses |
//! | [`queues`] | how many queues a network device has |
//! | [`command_line`] | QEMU's arguments, as a pure function |
//! | [`process`] | child processes that die with their parent and are named by pidfds |
//! | [`qmp`] | QEMU's monitor protocol |

pub mod accelerator;
pub mod command_line;
pub mod files;
pub mod launch;
pub mod layout;
pub mod parts;
pub mod process;
pub mod qmp;
pub mod queues;
pub mod ram;
