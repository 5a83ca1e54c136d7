//! A supervisor, once its guest's files are open: it reaches its guest's folder, and becomes its guest's two users.

use bartizan_confinement::{Filter, Rights, Rules, forbid_dumps};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::ConfinementError;
use super::paths::{to_execute, to_run_qemu};
use super::system_calls::{ABSENT, Becomes, starts_others};
use crate::qemu::accelerator::KVM;
use crate::qemu::process::User;
use crate::supervisor::SupervisorConfig;
use crate::supervisor::attempt::Plan;
use crate::supervisor::users::OwnUsers;

/// Confines this process, which has one thread, and every child that it starts.
pub fn confine(plan: &Plan) -> Result<(), ConfinementError> {
    hold(&plan.config, &plan.users)
}

/// Gives up the capabilities by which it opened its guest's images, whoever owns them.
fn give_up_other_users_files() -> std::io::Result<()> {
    let given_up = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let had = capabilities(None)?;
    let left = CapabilitySets {
        effective: had.effective - given_up,
        permitted: had.permitted - given_up,
        inheritable: had.inheritable - given_up,
    };
    Ok(set_capabilities(None, left)?)
}

pub(super) fn hold(config: &SupervisorConfig, users: &OwnUsers) -> Result<(), ConfinementError> {
    // Its memory has the launch secret.
    forbid_dumps()?;
    let rules = Rules::none()
        .grant(&config.directory, Rights::Serve)
        // Descriptors that are opened anew, processors.
        .grant("/proc", Rights::Read)
        .grant_any([KVM], Rights::Write)
        .grant_any(&config.tracking_library, Rights::Read);
    let programs = [config.qemu.path.as_path(), config.measurer.path.as_path()];
    to_run_qemu(to_execute(rules, programs), &config.qemu.path).enter()?;

    // With it, it could connect to every socket of the host that is guarded by nothing but its mode.
    give_up_other_users_files().map_err(ConfinementError::Capabilities)?;

    let users = [users.qemu, users.measurer];
    let ids = |id: fn(User) -> u32| {
        let ids = users.iter().flatten().map(|user| id(*user));
        ids.map(|id| id..=id).collect()
    };
    let becomes = Becomes {
        uids: ids(|user| user.uid),
        gids: ids(|user| user.gid),
    };
    Filter::all_but(&starts_others(&becomes), ABSENT)?.install()?;
    Ok(())
}
