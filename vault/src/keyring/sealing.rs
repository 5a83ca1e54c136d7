//! Rotation of the sealing key.
//!
//! ```text
//! another is made ─► all is sealed by it ─► the store is replaced ─► it takes over, the former one is destroyed
//!                                            └ a crash before leaves the former, a crash after is made good at the start
//! ```

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::keys::{KeyEventKind, KeyKind};

use super::{Contents, Keyring, KeyringError, file};
use crate::backend::{Backend, Generation, NextSealing};

/// How long a sealing key is used before another is made, in seconds.
const LIFETIME_S: u64 = 365 * 86_400;

impl Keyring {
    /// Rotates the sealing key.
    pub(crate) fn rotate_sealing(&mut self, now: u64) -> Result<(), KeyringError> {
        // What is on disk is sealed by the key in use, whatever became of a rotation before: only then the files of that one may go.
        self.replace(self.contents.clone())?;
        let mut salt = [0; 32];
        SystemRandom::new()
            .fill(&mut salt)
            .map_err(|_| KeyringError::Random)?;
        let (former, by) = (id(&self.salt), id(&salt));
        let kind = KeyKind::Sealing;
        let backend = std::sync::Arc::clone(&self.backend);
        let next = backend.next_sealing(Generation(salt))?;
        let mut contents = self.contents.clone();
        contents.reseal(&*self.backend, &*next)?;
        contents.sealing_made_s = Some(now);
        contents.note(
            now,
            kind,
            former,
            KeyEventKind::Superseded { by: by.into() },
        );
        contents.note(now, kind, by, KeyEventKind::Made);
        let tag = |store: &[u8]| next.authenticate(store);
        file::save(&self.path, &salt, &contents, tag)?;
        self.contents = contents;
        self.salt = salt;
        let what = match next.take_over() {
            Ok(()) => KeyEventKind::Destroyed,
            Err(error) => {
                tracing::error!(%error, "the former sealing key is still there");
                KeyEventKind::not_destroyed(&error)
            }
        };
        self.change(now, |contents| {
            contents.note(now, kind, former, what);
            Ok(())
        })
    }

    /// Whether it is not time for another one. One that was made while the clock was ahead would last too long.
    pub(crate) fn is_sealing_fresh(&self, now: u64) -> bool {
        let made = self.contents.sealing_made_s;
        made.is_some_and(|made| (made..made.saturating_add(LIFETIME_S)).contains(&now))
    }

    /// The same, where its time has come. A store's first one counts from now on.
    pub(crate) fn rotate_sealing_if_due(&mut self, now: u64) -> Result<(), KeyringError> {
        match self.contents.sealing_made_s {
            Some(_) if self.is_sealing_fresh(now) => Ok(()),
            Some(_) => self.rotate_sealing(now),
            None => self.change(now, |contents| {
                contents.sealing_made_s = Some(now);
                Ok(())
            }),
        }
    }
}

/// What a sealing key goes by in the history: it has no public half.
fn id(salt: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"bartizan-vault sealing key".as_slice(), salt].concat())
}

impl Contents {
    fn reseal(
        &mut self,
        present: &dyn Backend,
        next: &dyn NextSealing,
    ) -> Result<(), KeyringError> {
        if let Some(kept) = &mut self.enclave_state {
            let derive = |label: &[u8]| present.authenticate(label);
            kept.rewrap(derive, |label| next.authenticate(label))?;
        }
        let doomed = self.doomed.iter_mut().flatten();
        for record in self.records.iter_mut().chain(doomed) {
            record.blob = next.reseal(record.purpose, &record.stored())?.into();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
