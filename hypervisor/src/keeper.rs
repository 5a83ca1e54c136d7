//! The keeper: runs the enclave's machine, and connects its links to who is at their other ends.
//!
//! ```text
//! launcher ── phase 5 ──► keeper ── QEMU (the enclave: private RAM, no network, no disk)
//!                           │ port `bartizan.card`        ⇄ socket of the card
//!                           │ port `bartizan.hypervisor`  ⇄ socket of the hypervisor
//!                           └ port `bartizan.verifier`    ⇄ socket of the card, which forwards to the verifier
//! ```
//!
//! It has no key, and sees TLS alone. It is the only one that ever starts the enclave: whatever ends, QEMU ends with the keeper, and
//! the keeper starts another after a pause; so it does where the machine hangs.
//!
//! | module | concept |
//! |---|---|
//! | [`config`] | the configuration, and the measured files that it names |
//! | [`command_line`] | QEMU's arguments, as a pure function |
//! | [`image`] | the image with its configuration: sealed |
//! | [`group`] | QEMU's control group: its limits, and its end |
//! | [`machine`] | one run of the machine, from QEMU's start to its end |
//! | [`links`] | the bytes between ports and sockets |
//! | [`owed`] | whether the machine hangs, by those bytes |
//! | [`status`] | how the machine is, for the card |

pub mod command_line;
pub mod config;
pub mod group;
pub mod image;
pub mod links;
pub mod machine;
pub mod owed;
pub mod status;

use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use config::{Config, ConfigError};
use machine::Machine;
use status::Status;

/// The pause before the machine is started again: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// A machine that ran for so long had started well.
const WELL: Duration = Duration::from_secs(60);

/// Keeps the machine running, for ever. `started` is called once the first has its links: whoever waits for the boot's last phase
/// must not wait for a card that is not enrolled.
pub async fn run(config: Config, started: impl FnOnce()) -> anyhow::Result<()> {
    let status = Status::new(&config);
    let telling = status.clone();
    let to = config.links.status.clone();
    let machine = Machine::new(config, status)?;
    tokio::select! {
        never = keep(machine, started) => match never {},
        never = telling.keep_told(to.as_deref()) => match never {},
    }
}

async fn keep(machine: Machine, started: impl FnOnce()) -> std::convert::Infallible {
    let mut started = Some(started);
    let (first, longest) = PAUSES;
    let mut pause = first;
    loop {
        let begun = Instant::now();
        let ended = machine
            .run(|| {
                if let Some(started) = started.take() {
                    started();
                }
            })
            .await;
        match ended {
            Ok(ended) => tracing::warn!(%ended, "the enclave's machine ended"),
            Err(error) => tracing::error!(%error, "the enclave's machine cannot run"),
        }
        if begun.elapsed() > WELL {
            pause = first;
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
