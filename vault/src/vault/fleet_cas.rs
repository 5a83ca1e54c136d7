//! One fleet CA after the other (RFC 4210 section 4.4): the verifier's vault makes them, a host's vault follows them.

use bartizan_attestation::certificates::{FleetCa, FormerFleetCa, Lineage, Usage};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::{Purpose, VaultRefusal, VaultReply};
use bartizan_attestation::rotation::{AuthorisedRotation, RotationRefusal};

use super::verifier::FLEET_CA_S;
use super::{Operation, Outcome, chain, hex, short, store};
use crate::backend::{NewKey, StoredKey};
use crate::boot::{AfterCard, Reached};
use crate::issue::{IssuerKey, backdated, cross, fleet_ca, refused};
use crate::keyring::Record;
use crate::lifetime::YEAR_S;

/// For how long after a rotation what the former CA certified is good: the longest lifetime there is, and some time for what was
/// being certified just then.
const OLD_WITH_NEW_S: u64 = YEAR_S + 3600;

impl Operation<'_> {
    /// Replaces the fleet CA, if an administrator of the fleet ordered that of the present one. The former one's key is destroyed
    /// once the new one is in the store.
    pub(super) fn rotate_fleet_ca(&self, order: &[u8]) -> Outcome {
        let purpose = Purpose::FleetCa;
        self.demand(purpose)?;
        // Not locked while the key is made, which takes a TPM its time: that the CA is still the one that was ordered to be
        // replaced is seen again when it is.
        let (former, lineage) = {
            let keyring = self.read();
            let former = keyring.newest(purpose).cloned();
            (former.zip(keyring.lineage())).ok_or(VaultRefusal::NoKey { purpose })?
        };
        let present = FleetCa::from_der(&lineage.present).map_err(store)?;
        let present = present.with_lineage(&lineage).map_err(store)?;
        let order = AuthorisedRotation::verify(order, &present, self.now);
        let order = order.map_err(VaultRefusal::Rotation)?;
        let kept = self.kept(&lineage, &present)?;
        let key = self.backend.generate(purpose).map_err(store)?;
        let id = key.public.sha256();
        let made = self.replace(&former, &present, kept, &key, &id);
        if made.is_err() {
            self.destroy_unkept(purpose, &id, &key);
        }
        let made = made?;
        tracing::warn!(
            operator = order.operator(),
            former = short(present.der()),
            certificate = short(&made.present),
            "fleet CA replaced"
        );
        Ok(VaultReply::FleetCas(Some(made)))
    }

    /// Those of the former CAs that are remembered beside one more: the oldest gives way once nothing that it certified is valid.
    fn kept(
        &self,
        lineage: &Lineage,
        present: &FleetCa,
    ) -> Result<Vec<FormerFleetCa>, VaultRefusal> {
        let former = &lineage.former;
        let too_many = (former.len() + 1).saturating_sub(Lineage::MAX_FORMER);
        for given_up in former.iter().take(too_many) {
            let id = sha256(&given_up.certificate);
            let link = present.linked().find(|(linked, _)| *linked == id);
            let until = link.map_or(0, |(_, (_, until))| until);
            if until >= self.now {
                let former = u32::try_from(former.len()).unwrap_or(u32::MAX);
                return Err(VaultRefusal::TooManyFormer { former, until });
            }
        }
        Ok(former.iter().skip(too_many).cloned().collect())
    }

    /// Certifies the new key by itself, the two CAs by one another, and keeps all of it.
    fn replace(
        &self,
        former: &Record,
        present: &FleetCa,
        mut kept: Vec<FormerFleetCa>,
        key: &NewKey,
        id: &[u8; 32],
    ) -> Result<Lineage, VaultRefusal> {
        let purpose = Purpose::FleetCa;
        let name = present.common_name();
        let name = name.ok_or_else(|| refused("the fleet CA has no common name"))?;
        let issuer = || IssuerKey {
            backend: self.backend,
            purpose,
            key: StoredKey {
                id,
                blob: &key.blob,
            },
            public: key.public.clone(),
            failed: &self.failed,
        };
        let (der, not_after) = fleet_ca(&name, self.now, FLEET_CA_S, &issuer())?;
        let (began, ends) = present.validity();
        let new_with_old = cross(
            &name,
            &key.public,
            Vec::new(),
            (backdated(self.now), ends),
            present.der(),
            self.issuer(former)?,
        )?;
        let old_ends = self.now.saturating_add(OLD_WITH_NEW_S).min(ends);
        let old_key = present.public_key();
        let believed = Usage::of_former_ca();
        let old_with_new = cross(&name, old_key, believed, (began, old_ends), &der, issuer())?;
        kept.push(FormerFleetCa {
            certificate: present.der().to_vec().into(),
            new_with_old: new_with_old.into(),
            old_with_new: old_with_new.into(),
        });
        let lineage = Lineage {
            present: der.clone().into(),
            former: kept,
        };
        // As everybody will: a CA that nobody follows is not taken.
        let followed = present.alone().rolled(&lineage, self.now);
        followed.map_err(store)?;
        let record = Record {
            purpose,
            id: (*id).into(),
            public: key.public.spki_der().into(),
            blob: key.blob.clone().into(),
            chain: chain([der.clone()]),
            not_after,
        };
        let mut keyring = self.write();
        if (keyring.newest(purpose)).is_none_or(|newest| newest.id != former.id) {
            return Err(VaultRefusal::Rotation(RotationRefusal::OtherCa {
                named: hex(&present.sha256()),
                present: hex(&sha256(keyring.fleet_ca().unwrap_or_default())),
            }));
        }
        keyring
            .replace_fleet_ca(record, lineage.clone(), [ends, old_ends], self.now)
            .map_err(store)?;
        Ok(lineage)
    }

    /// Has this host trust the present CA of a lineage, if the one that it trusts leads there. The card's word is not enough.
    pub(super) fn roll_fleet_ca(&self, _open: Reached<AfterCard>, lineage: Lineage) -> Outcome {
        let purpose = Purpose::CardIdentity;
        self.demand(purpose)?;
        let mut keyring = self.write();
        let kept = keyring.lineage().ok_or(VaultRefusal::NoKey { purpose })?;
        let trusted = FleetCa::from_der(&kept.present).map_err(store)?;
        let trusted = trusted.with_lineage(&kept).map_err(store)?;
        let rolled = trusted.rolled(&lineage, self.now);
        let rolled = rolled.map_err(|error| VaultRefusal::Lineage(error.to_string()))?;
        keyring.roll_fleet_ca(lineage, self.now).map_err(store)?;
        if rolled.der() != trusted.der() {
            let (former, present) = (short(trusted.der()), short(rolled.der()));
            tracing::warn!(former, present, "another fleet CA is trusted from now on");
        }
        Ok(VaultReply::Done)
    }
}
