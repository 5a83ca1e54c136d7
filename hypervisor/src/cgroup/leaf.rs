//! Version 2's rule that a group with processes shares no controller out, and the leaf that lets daemon and keeper keep it.

use std::fs;
use std::io;
use std::path::Path;

use super::{CgroupError, Controller, Place, failed, own_places};

/// The group of daemon and supervisors, and the keeper's, beneath the one that these were started in.
const LEAF: &str = "bartizan-daemon";

/// Moves this process, and whatever it starts from now on, into the leaf, where version 2 has controllers that are needed.
pub fn settle() -> Result<(), CgroupError> {
    let places = own_places().into_iter();
    for (controller, place) in places.filter_map(|(controller, place)| Some((controller, place?))) {
        if place.unified && offers(&place.folder, controller)? {
            return move_into(&place.folder);
        }
    }
    Ok(())
}

fn move_into(group: &Path) -> Result<(), CgroupError> {
    let leaf = group.join(LEAF);
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed(&leaf)(error));
        }
        _ => {}
    }
    // The process that writes, with all its threads.
    let processes = leaf.join("cgroup.procs");
    fs::write(&processes, "0").map_err(failed(&processes))
}

/// The place in which groups are made: the group above the leaf, for who is in one.
pub(super) fn above(place: Place) -> Place {
    match place.folder.parent() {
        Some(parent) if place.unified && place.folder.ends_with(LEAF) => Place {
            folder: parent.to_owned(),
            ..place
        },
        _ => place,
    }
}

/// Gives the groups beneath `group` a controller of version 2.
pub(super) fn share_out(controller: Controller, group: &Path) -> Result<(), CgroupError> {
    if !offers(group, controller)? {
        return Err(CgroupError::Absent(controller));
    }
    let path = group.join("cgroup.subtree_control");
    match fs::write(&path, format!("+{controller}")) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Err(CgroupError::Occupied {
            controller,
            folder: group.to_owned(),
        }),
        written => written.map_err(failed(&path)),
    }
}

fn offers(group: &Path, controller: Controller) -> Result<bool, CgroupError> {
    let path = group.join("cgroup.controllers");
    let offered = fs::read_to_string(&path).map_err(failed(&path))?;
    Ok(offered
        .split_ascii_whitespace()
        .any(|one| one == controller.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_moves_into_a_leaf_and_guests_groups_are_made_beside_it() {
        let group = tempfile::tempdir().unwrap();
        let place = |folder: &Path, unified| Place {
            folder: folder.to_owned(),
            unified,
        };
        // The kernel makes the leaf's files.
        let leaf = group.path().join(LEAF);
        fs::create_dir(&leaf).unwrap();
        move_into(group.path()).unwrap();
        let moved = fs::read_to_string(leaf.join("cgroup.procs")).unwrap();
        assert_eq!(moved, "0");
        let own = place(group.path(), true);
        assert_eq!(above(place(&leaf, true)), own);
        assert_eq!(above(own.clone()), own);
        // In version 1 nobody moves.
        let version_1 = place(&leaf, false);
        assert_eq!(above(version_1.clone()), version_1);
    }

    #[test]
    fn what_is_not_offered_is_not_shared_out() {
        let group = tempfile::tempdir().unwrap();
        fs::write(group.path().join("cgroup.controllers"), "cpu pids\n").unwrap();
        share_out(Controller::Pids, group.path()).unwrap();
        let shared = fs::read_to_string(group.path().join("cgroup.subtree_control")).unwrap();
        assert_eq!(shared, "+pids");
        let refused = share_out(Controller::Memory, group.path()).unwrap_err();
        assert!(matches!(refused, CgroupError::Absent(Controller::Memory)));
    }
}
