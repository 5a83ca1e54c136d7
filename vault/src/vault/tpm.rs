//! How a host's vault shows that its keys are in a TPM.

use bartizan_attestation::keys::{Purpose, TpmObject, TpmQuote, VaultRefusal, VaultReply};

use super::{Operation, Outcome, store};
use crate::backend::Activated;
use crate::boot::{AfterCard, Reached};

impl Operation<'_> {
    pub(super) fn describe_tpm(&self, _open: Reached<AfterCard>) -> Outcome {
        let purpose = Purpose::CardIdentity;
        let record = self.newest(purpose)?;
        let described = self.backend.describe_tpm(purpose, &record.stored());
        Ok(VaultReply::Tpm(described.map_err(store)?))
    }

    pub(super) fn quote(&self, _open: Reached<AfterCard>, nonce: &[u8]) -> Outcome {
        let quote = self.backend.quote(nonce).map_err(store)?;
        Ok(VaultReply::Quote(quote.map(|quote| TpmQuote {
            attested: quote.attested.into(),
            signature: quote.signature.into(),
            pcrs: quote.pcrs,
        })))
    }

    pub(super) fn activate(
        &self,
        _open: Reached<AfterCard>,
        object: TpmObject,
        credential: &[u8],
        secret: &[u8],
    ) -> Outcome {
        let purpose = Purpose::CardIdentity;
        let record = self.newest(purpose)?;
        let object = match object {
            TpmObject::CardIdentity => Activated::Key(purpose, record.stored()),
            TpmObject::Attestation => Activated::Attestation,
        };
        let opened = self.backend.activate(object, credential, secret);
        let opened = opened.map_err(store)?;
        opened.map(VaultReply::Secret).ok_or(VaultRefusal::NoTpm)
    }
}
