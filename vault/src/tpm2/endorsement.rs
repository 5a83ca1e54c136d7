//! The endorsement key (EK): the key that the maker of a TPM vouches for.
//!
//! A verifier that trusts its certificate encrypts a secret to the EK together with the name of another object
//! (`bartizan_attestation::tpm::make_credential`). Only the TPM that has both decrypts it, so that whoever returns the secret has
//! shown that the host's identity key, or the one that quotes are signed with, is in that TPM.

use tss_esapi::abstraction::{AsymmetricAlgorithmSelection, DefaultKey, ek};
use tss_esapi::constants::SessionType;
use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind};
use tss_esapi::handles::{AuthHandle, KeyHandle};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Digest, EncryptedSecret, IdObject, Nonce, Public};
use tss_esapi::traits::Marshall;
use tss_esapi::{Context, Error};

use super::blob::Blob;
use super::handles::{authorised, flushing, with_policy, with_primary};
use super::{Tpm2, templates, unexpected};
use crate::backend::{Activated, BackendError};

/// An endorsement key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endorsement {
    /// TPM2B_PUBLIC, by the TCG's default template (EK Credential Profile 2.5 appendix B).
    pub public: Vec<u8>,
    /// Its certificate, DER, where the TPM has one. What follows the certificate in the TPM's memory follows it here, too.
    pub certificate: Option<Vec<u8>>,
}

/// The kinds of EK, the one to be preferred first: certificates are in NV at 0x01c00016, 0x01c0000a and 0x01c00002.
const KINDS: [AsymmetricAlgorithmSelection; 3] = [
    AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP384),
    AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256),
    AsymmetricAlgorithmSelection::Rsa(RsaKeyBits::Rsa2048),
];
/// What every TPM has.
const WITHOUT_CERTIFICATE: AsymmetricAlgorithmSelection =
    AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256);

impl Tpm2 {
    /// The EK that there is a certificate for; the P-256 one where there is no certificate.
    pub fn endorsement(&self) -> Result<Endorsement, BackendError> {
        self.connection.run(|context| {
            let (kind, certificate) = find(context)?;
            let template = template(kind)?;
            let public =
                with_primary(context, Hierarchy::Endorsement, template, |_, _, public| {
                    Ok(public.marshall()?)
                })?;
            let length = u16::try_from(public.len()).map_err(|_| unexpected())?;
            Ok(Endorsement {
                public: [&length.to_be_bytes(), &*public].concat(),
                certificate,
            })
        })
    }

    /// The public area of the attestation key that quotes are signed with.
    pub(super) fn attestation(&self) -> Result<Vec<u8>, BackendError> {
        self.connection.run(|context| {
            let template = templates::attestation()?;
            with_primary(context, Hierarchy::Owner, template, |_, _, public| {
                Ok(public.marshall()?)
            })
        })
    }

    /// Opens a secret that was encrypted to [`Tpm2::endorsement`] for an object of this TPM.
    /// `credential` and `secret` are the contents of TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.
    pub fn activate_credential(
        &self,
        object: Activated<'_>,
        credential: &[u8],
        secret: &[u8],
    ) -> Result<Vec<u8>, BackendError> {
        let credential = IdObject::try_from(credential.to_vec())?;
        let secret = EncryptedSecret::try_from(secret.to_vec())?;
        self.connection.run(|context| {
            let (kind, _) = find(context)?;
            match object {
                Activated::Attestation => {
                    let template = templates::attestation()?;
                    with_primary(context, Hierarchy::Owner, template, |context, key, _| {
                        activate(context, kind, key, &credential, &secret)
                    })
                }
                Activated::Key(purpose, stored) => {
                    let blob = Blob::open(purpose, &stored)?;
                    let key = self.load(context, purpose, &stored, &blob)?;
                    flushing(context, key.into(), |context| {
                        activate(context, kind, key, &credential, &secret)
                    })
                }
            }
        })
    }
}

fn activate(
    context: &mut Context,
    kind: AsymmetricAlgorithmSelection,
    object: KeyHandle,
    credential: &IdObject,
    secret: &EncryptedSecret,
) -> Result<Vec<u8>, BackendError> {
    let endorsement = template(kind)?;
    let by_policy = !endorsement.object_attributes().user_with_auth();
    with_primary(
        context,
        Hierarchy::Endorsement,
        endorsement,
        |context, ek, _| {
            let open = |context: &mut Context, session| {
                let sessions = (Some(AuthSession::Password), Some(session), None);
                let opened = context.execute_with_sessions(sessions, |context| {
                    context.activate_credential(object, ek, credential.clone(), secret.clone())
                });
                Ok(opened?.value().to_vec())
            };
            if !by_policy {
                return open(context, AuthSession::Password);
            }
            with_policy(context, SessionType::Policy, |context, session, policy| {
                authorised(context, |context| {
                    let (nonce, reference) = (Nonce::default(), Nonce::default());
                    let endorsement = AuthHandle::Endorsement;
                    let any = Digest::default();
                    context.policy_secret(policy, endorsement, nonce, any, reference, None)?;
                    Ok(())
                })?;
                open(context, session)
            })
        },
    )
}

fn template(kind: AsymmetricAlgorithmSelection) -> Result<Public, Error> {
    ek::create_ek_public_from_default_template_2(kind, None::<DefaultKey>)
}

/// The first kind that there is a certificate for.
fn find(
    context: &mut Context,
) -> Result<(AsymmetricAlgorithmSelection, Option<Vec<u8>>), BackendError> {
    for kind in KINDS {
        match ek::retrieve_ek_pubcert(context, kind) {
            Ok(certificate) => return Ok((kind, Some(certificate))),
            // There is no such index: the TPM's own word, see `connection`. After any other the next kind would make this TPM look
            // like another one.
            Err(Error::Tss2Error(code @ Tss2ResponseCode::FormatOne(_)))
                if code.kind() == Some(Tss2ResponseCodeKind::Handle) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((WITHOUT_CERTIFICATE, None))
}
