//! Certified keys: the TPM's own word that it holds a key (TPM2_Certify).

use bartizan_attestation::keys::TpmCertified;
use tss_esapi::Context;
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Data, HashScheme, SignatureScheme};
use tss_esapi::traits::Marshall;

use super::blob::Blob;
use super::handles::{flushing, with_primary};
use super::templates;
use crate::backend::BackendError;

/// Has the attestation key certify a key that is loaded, which is flushed.
pub(super) fn certify(
    context: &mut Context,
    key: KeyHandle,
    blob: &Blob,
    nonce: &[u8],
) -> Result<TpmCertified, BackendError> {
    flushing(context, key.into(), |context| {
        let nonce = Data::try_from(nonce.to_vec())?;
        let scheme = SignatureScheme::EcDsa {
            hash_scheme: HashScheme::new(HashingAlgorithm::Sha384),
        };
        let template = templates::attestation()?;
        with_primary(
            context,
            Hierarchy::Owner,
            template,
            |context, attestation, _| {
                // Both by their empty authorisations: the key's lets it show that it is there, and no more.
                let sessions = (
                    Some(AuthSession::Password),
                    Some(AuthSession::Password),
                    None,
                );
                let (attested, signature) = context.execute_with_sessions(sessions, |context| {
                    context.certify(key.into(), attestation, nonce, scheme)
                })?;
                Ok(TpmCertified {
                    public: blob.public.marshall()?.into(),
                    attested: attested.marshall()?.into(),
                    signature: signature.marshall()?.into(),
                })
            },
        )
    })
}
