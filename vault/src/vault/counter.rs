//! The counter by which a copy of this vault is noticed ([`bartizan_attestation::vault_counter`]).

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_attestation::keys::VaultReply;
use bartizan_attestation::vault_counter::{Machine, Mark, Statement};

use super::card::{IdentitySigner, card_of};
use super::{Operation, Outcome, store};
use crate::boot::{AfterCard, Reached};
use crate::issue::refused;

impl Operation<'_> {
    /// The statement to report in with: in the store before it is handed out, the same again until it was answered.
    pub(super) fn state_counter(&self, _open: Reached<AfterCard>, machine: Machine) -> Outcome {
        let identity = self.identity()?;
        let card = card_of(&identity)?;
        // Locked while it is looked up and kept: of two at once, one makes it and both get it.
        let mut keyring = self.write();
        let statement = match keyring.pending_statement(card) {
            Some(pending) => pending.clone(),
            None => {
                let (answered, mark) = keyring.answered(card);
                let counter = answered.checked_add(1);
                let mut random = [0; 32];
                let filled = SystemRandom::new().fill(&mut random);
                filled.map_err(|_| refused("the kernel's random number generator failed"))?;
                let statement = Statement {
                    version: Statement::VERSION,
                    card,
                    counter: counter.ok_or_else(|| refused("the counter is at its end"))?,
                    mark,
                    random,
                    machine,
                };
                keyring.keep_statement(statement.clone()).map_err(store)?;
                statement
            }
        };
        drop(keyring);
        let chain: Vec<_> = identity.chain.iter().map(|der| der.to_vec()).collect();
        let signer = IdentitySigner {
            operation: self,
            key: &identity,
        };
        let signed = statement.sign(&chain, &signer).map_err(refused)?;
        Ok(VaultReply::Statement(signed))
    }

    /// Keeps what the verifier answered to the statement that waits.
    pub(super) fn take_mark(&self, _open: Reached<AfterCard>, counter: u64, mark: Mark) -> Outcome {
        let card = card_of(&self.identity()?)?;
        if self.write().take_mark(card, counter, mark).map_err(store)? {
            return Ok(VaultReply::Done);
        }
        Err(refused("no statement of that counter waits for its mark"))
    }
}
