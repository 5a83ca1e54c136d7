//! What the store keeps of the fleet's CAs: the present one, and how those before it are linked to it.

use bartizan_attestation::certificates::{FormerFleetCa, Lineage};
use bartizan_attestation::keys::{KeyKind, Purpose};

use super::{Contents, Keyring, KeyringError, Record, certified};

impl Keyring {
    /// The fleet's CAs, once there is one.
    pub(crate) fn lineage(&self) -> Option<Lineage> {
        Some(Lineage {
            present: self.contents.fleet_ca.clone()?,
            former: self.contents.former.clone().unwrap_or_default(),
        })
    }

    /// Adds the key of the present CA of a lineage, instead of the one before it, which is destroyed. The latter's cross-certificates
    /// end at `ends`, the newer one's by the older one first.
    pub(crate) fn replace_fleet_ca(
        &mut self,
        record: Record,
        lineage: Lineage,
        ends: [u64; 2],
        now: u64,
    ) -> Result<(), KeyringError> {
        self.change(now, |contents| {
            let (new, newest) = (*record.id, lineage.former.last().cloned());
            let purpose = Purpose::FleetCa;
            let former = (contents.records.iter()).rfind(|record| record.purpose == purpose);
            let former = former.map(|record| *record.id);
            contents.add(record, now)?;
            contents
                .records
                .retain(|record| record.purpose != purpose || *record.id == new);
            if let (Some(old), Some(newest)) = (former, newest) {
                let links = [(new, newest.new_with_old), (old, newest.old_with_new)];
                for ((id, certificate), ends) in links.into_iter().zip(ends) {
                    contents.note(now, KeyKind::FleetCa, id, certified(&certificate, ends));
                }
            }
            contents.know(lineage);
            Ok(())
        })
    }

    /// Keeps another lineage, of whose present CA this store is from now on.
    pub(crate) fn roll_fleet_ca(&mut self, lineage: Lineage, now: u64) -> Result<(), KeyringError> {
        if self.lineage().as_ref() == Some(&lineage) {
            return Ok(());
        }
        self.change(now, |contents| {
            contents.know(lineage);
            Ok(())
        })
    }

    /// Whether the fleet's CA was ever replaced.
    pub(crate) fn was_rotated(&self) -> bool {
        self.contents.former.is_some()
    }
}

impl Contents {
    fn know(&mut self, Lineage { present, former }: Lineage) {
        self.fleet_ca = Some(present);
        self.former = Some(former).filter(|former: &Vec<FormerFleetCa>| !former.is_empty());
    }
}
