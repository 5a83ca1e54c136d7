//! The supervisor: one process a guest and boot, that outlives the hypervisor daemon.
//!
//! It is started by the daemon, leaves its session, and holds all of the guest's life: the RAM file,
//! QEMU, the measurer, the device's attachment, the launch secret and the enrolled key. The daemon may
//! be killed and started again at any time: it finds the supervisor by its control socket. Children die
//! with the supervisor (PR_SET_PDEATHSIG), and whoever is in the boot's control group by the daemon: there is no orphan. A new boot is a new identity, so that a
//! supervisor never boots its guest again; it says how the guest ended and exits, and the daemon decides.
//!
//! ```text
//!            hash files        QEMU stopped, RAM layout agrees      sign of life
//!   (start) ───────────► (1) ──────────────────────────► Booting ─────────────► Running ◄─► Paused
//!                         ▲                                 │                      │      (overdue)
//!                         └──── no sign of life: kill ──────┘                      ▼
//!                               and retry, 3 times                       Stopped or Failed
//! ```
//!
//! | module | concept |
//! |---|---|
//! | [`config`] | what a supervisor is started with |
//! | [`launcher`] | how the daemon starts one |
//! | [`ending`] | how a boot ended |
//! | [`locks`] | whether it has ended, whoever answers |
//! | [`control`] | what the daemon may ask, over a socket |
//! | [`guest`] | the one task that owns the guest's state |
//! | [`users`] | whom a guest's processes run as |
//! | [`attempt`] | one QEMU process of this boot |
//! | [`measurer`] | the measurer, kept running |
//! | [`console`], [`chatter`] | what the guest and the children print, bounded |
//! | [`watchdog`], [`lease`], [`enrolment`] | the rules, each pure |
//! | [`tracking`] | what tracks the writes to the guest's RAM |
//! | [`vhost`] | the relay between QEMU and the devices process |

pub mod attempt;
pub mod chatter;
pub mod config;
pub mod console;
pub mod control;
pub mod ending;
pub mod enrolment;
pub mod guest;
pub mod launcher;
pub mod lease;
mod left;
pub mod locks;
pub mod measurer;
pub mod run;
pub mod tracking;
pub mod users;
pub mod vhost;
pub mod view;
pub mod watchdog;

pub use config::{Program, SupervisorConfig};
pub use ending::Ending;
pub use launcher::{LaunchError, Milestone, StartReport, SupervisorProgram, launch};
pub use run::run;
