//! The keeper: it may use what the enclave's QEMU will, its folder and QEMU's control groups.
//!
//! The sockets that the enclave's links lead to need no rule: their servers ask who connects.

use bartizan_confinement::{Filter, Rights, Rules, forbid_dumps};

use super::ConfinementError;
use super::paths::{is_measured, to_execute, to_run_qemu};
use super::system_calls::{ABSENT, Becomes, starts_others};
use crate::cgroup;
use crate::keeper::Config;
use crate::qemu::accelerator::KVM;

/// Confines this process before it has a second thread, and every QEMU that it starts.
pub fn confine(config: &Config) -> Result<(), ConfinementError> {
    forbid_dumps()?;
    rules(config).enter()?;
    Filter::all_but(&starts_others(&becomes(config)), ABSENT)?.install()?;
    Ok(())
}

fn rules(config: &Config) -> Rules {
    let rules = Rules::none()
        .grant(&config.run_dir, Rights::Manage)
        // Its own groups and mounts, descriptors that are opened anew, processors.
        .grant("/proc", Rights::Read)
        .grant_any(cgroup::folders(), Rights::Manage)
        .grant_any([KVM], Rights::Write);
    let files = [
        &config.kernel,
        &config.image,
        &config.config,
        &config.command_line,
    ];
    let on_disk = files.into_iter().filter(|path| !is_measured(path));
    let rules = on_disk.fold(rules, |rules, path| rules.grant(path, Rights::Read));
    let qemu = config.qemu.program.as_path();
    to_run_qemu(to_execute(rules, [qemu]), qemu)
}

fn becomes(config: &Config) -> Becomes {
    let user = config.qemu.user;
    Becomes {
        uids: user.map(|user| user.uid..=user.uid).into_iter().collect(),
        gids: user.map(|user| user.gid..=user.gid).into_iter().collect(),
    }
}
