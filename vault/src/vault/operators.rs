//! Who becomes an operator. The verifier asks, but it does not decide: whoever takes it over must not
//! be able to make operators, who would outlive being thrown out.
//!
//! Certified are the first operator, an administrator, while the fleet is begun; the same name and key again, at any time;
//! and those whom the vault's own configuration names, with the role that it says, which the verifier cannot write.

use bartizan_attestation::certificates::{Role, Subject, Usage};
use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::csr;
use bartizan_attestation::keys::{KeyKind, Purpose, VaultRefusal, VaultReply};

use super::verifier::FLEET_CA_S;
use super::{Operation, Outcome, chain, hex, store};
use crate::issue::refused;
use crate::keyring::FirstOperator;
use crate::lifetime::YEAR_S;

/// How long after its CA was made a fleet may get its first operator, in seconds.
const BEGINNING_S: u64 = 3600;

impl Operation<'_> {
    pub(super) fn issue_operator(&self, csr: &[u8], name: &str) -> Outcome {
        self.demand(Purpose::FleetCa)?;
        let key = csr::verify(csr).map_err(refused)?;
        Subject::check_operator(name).map_err(refused)?;
        let role = self.role_of_operator(name, &key)?;
        let subject = Subject::operator(name, role).map_err(refused)?;
        let (common_name, names) = (name.to_owned(), Vec::new());
        let issued =
            self.issued_by_fleet_ca(Usage::Operator, subject, common_name, names, YEAR_S, &key);
        let (certificate, end) = issued?;
        self.note_certified(KeyKind::Operator, &key, &certificate, end)?;
        tracing::warn!(name, %role, key = hex(&key.sha256()), "operator certified");
        Ok(VaultReply::Certificates(chain([certificate])))
    }

    fn role_of_operator(&self, name: &str, key: &PublicKey) -> Result<Role, VaultRefusal> {
        let key_sha256 = hex(&key.sha256());
        let named = (self.operators.iter())
            .find(|operator| operator.name == name && operator.key_sha256 == key_sha256);
        if let Some(operator) = named {
            return Ok(operator.role);
        }
        // Locked to the end: of two at once, one is the first.
        let mut keyring = self.write();
        let asked = FirstOperator {
            name: name.into(),
            key: key.sha256().into(),
        };
        let allowed = match keyring.first_operator() {
            Some(first) => *first == asked,
            // A CA that took another's place begins no fleet.
            None if keyring.was_rotated() => false,
            None => keyring.newest(Purpose::FleetCa).is_some_and(|ca| {
                let made = ca.not_after.saturating_sub(FLEET_CA_S);
                self.now <= made.saturating_add(BEGINNING_S)
            }),
        };
        if !allowed {
            let name = name.into();
            return Err(VaultRefusal::UnnamedOperator { name, key_sha256 });
        }
        // Before the certificate: one that is lost on the way is issued again, to the same alone.
        keyring.set_first_operator(asked, self.now).map_err(store)?;
        Ok(Role::Administrator)
    }
}
