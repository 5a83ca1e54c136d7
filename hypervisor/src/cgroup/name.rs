//! How groups are called: a family's begin alike, so that whoever makes the next one finds what is left of those before it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_attestation::identity::GuestIdentity;
use uuid::Uuid;

/// The name of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    family: String,
    own: String,
}

impl Name {
    /// A boot's; its family are the boots of the VM. Of a card too: another host on the same machine may have the same VM.
    #[must_use]
    pub fn of_guest(guest: &GuestIdentity) -> Self {
        let card: String = guest.card.to_string().chars().take(16).collect();
        let family = format!("bartizan-{card}-{}-", Uuid::from_bytes(guest.vm));
        Self {
            own: format!("{family}{}", guest.boot),
            family,
        }
    }

    /// Another one of the enclave's; its family are those of the keeper with this folder of run-time state.
    #[must_use]
    pub fn of_enclave(run_dir: &Path) -> Self {
        let digest = digest(&SHA256, run_dir.as_os_str().as_encoded_bytes());
        let host: String = (digest.as_ref().iter().take(8))
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let family = format!("bartizan-enclave-{host}-");
        Self {
            own: format!("{family}{}", Uuid::new_v4().simple()),
            family,
        }
    }

    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// The folders in `place` of the family's other groups.
    pub(super) fn others(&self, place: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let other = |entry: &fs::DirEntry| {
            let found = entry.file_name();
            (found.to_str())
                .is_some_and(|found| found.starts_with(&self.family) && found != self.own)
        };
        let others = entries.filter(other);
        others.map(|entry| entry.path()).collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.own)
    }
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::identity::CardId;

    use super::*;

    const GUEST: GuestIdentity = GuestIdentity {
        card: CardId([1; 32]),
        vm: [2; 16],
        boot: 7,
    };

    #[test]
    fn two_hosts_on_one_machine_have_groups_of_their_own() {
        let name = Name::of_guest(&GUEST);
        assert_eq!(name.own, format!("{}7", name.family));
        let another = Name::of_guest(&GuestIdentity {
            card: CardId([3; 32]),
            boot: 8,
            ..GUEST
        });
        // Neither removes the other's.
        assert!(!another.own.starts_with(&name.family));
        let next = Name::of_guest(&GuestIdentity { boot: 8, ..GUEST });
        assert!(next.own.starts_with(&name.family));
    }

    #[test]
    fn a_keeper_finds_its_own_earlier_groups_and_no_others() {
        let place = tempfile::tempdir().unwrap();
        let run_dir = Path::new("/run/bartizan/keeper");
        let (earlier, present) = (Name::of_enclave(run_dir), Name::of_enclave(run_dir));
        let another = Name::of_enclave("/run/another".as_ref());
        for name in [&earlier, &present, &another, &Name::of_guest(&GUEST)] {
            fs::create_dir(place.path().join(name.own())).unwrap();
        }
        let found = present.others(place.path());
        assert_eq!(found, [place.path().join(earlier.own())]);
        assert!(present.others(&place.path().join("absent")).is_empty());
    }
}
