//! The daemon: it may use what its supervisors will, and nothing else.

use std::path::Path;

use bartizan_confinement::{Filter, Rights, Rules, forbid_dumps};

use super::ConfinementError;
use super::paths::{USERFAULT, is_measured, to_execute, to_run_qemu};
use super::system_calls::{ABSENT, Becomes, starts_others};
use crate::cgroup;
use crate::daemon::{Config, Started};
use crate::qemu::accelerator::KVM;
use crate::qemu::process::User;

/// Confines this process before it has a second thread, and every supervisor that it starts.
pub fn confine(config: &Config) -> Result<(), ConfinementError> {
    forbid_dumps()?;
    rules(config).enter()?;
    Filter::all_but(&starts_others(&becomes(config)), ABSENT)?.install()?;
    Ok(())
}

fn rules(config: &Config) -> Rules {
    let socket_folder = config.operator_socket.parent().unwrap_or(Path::new("/"));
    let rules = Rules::none()
        .grant(&config.run_dir, Rights::Manage)
        .grant(socket_folder, Rights::Manage)
        // Its own groups and mounts, the users of running processes, processors.
        .grant("/proc", Rights::Read)
        .grant_any(cgroup::folders(), Rights::Manage)
        .grant_any(Started::groups(&config.started()), Rights::Manage)
        .grant_any([KVM], Rights::Write)
        // Nobody uses it but QEMU's library: a supervisor hands it over, open, before its guest runs.
        .grant_any([USERFAULT], Rights::Write)
        .grant_any(&config.tracking_library, Rights::Read)
        // Supervisors outlive the daemon that started them; a later one must be able to end them.
        .signal_strangers();
    let fleet_ca = Some(&config.fleet_ca).filter(|path| !is_measured(path));
    let rules = fleet_ca
        .into_iter()
        .fold(rules, |rules, path| rules.grant(path, Rights::Read));
    let enclave = config.enclave.as_ref();
    let enclave = enclave.and_then(|enclave| enclave.socket.parent());
    let rules =
        (enclave.into_iter()).fold(rules, |rules, folder| rules.grant(folder, Rights::Manage));
    let rules = (config.images.iter()).fold(rules, |rules, path| rules.grant(path, Rights::Write));
    let programs = [
        config.supervisor.program.as_path(),
        config.qemu.program.as_path(),
        config.measurer.program.as_path(),
    ];
    to_run_qemu(to_execute(rules, programs), &config.qemu.program)
}

fn becomes(config: &Config) -> Becomes {
    let users = || {
        [config.qemu.users, config.measurer.users]
            .into_iter()
            .flatten()
    };
    let supervisor = config.supervisor.user;
    let supervisor = |id: fn(User) -> u32| supervisor.map(id).map(|id| id..=id);
    Becomes {
        uids: users()
            .map(|users| users.uids())
            .chain(supervisor(|user| user.uid))
            .collect(),
        gids: users()
            .map(|users| users.gid()..=users.gid())
            .chain(supervisor(|user| user.gid))
            .collect(),
    }
}
