//! Signing keys: made under the parent of their purpose, used under their policy.

use bartizan_attestation::cose::Curve;
use bartizan_attestation::digest::hash;
use bartizan_attestation::keys::Purpose;
use bartizan_attestation::measurement::HashAlgorithm;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::constants::{CommandCode, SessionType};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Digest, HashScheme, HashcheckTicket, SignatureScheme};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::{Context, Error, structures};

use super::blob::{Blob, new_key};
use super::handles::{authorised, with_policy, with_primary};
use super::pcrs::Pcrs;
use super::{templates, unexpected};
use crate::backend::{BackendError, DeviceError, NewKey, curve};
use crate::signature::Signature;

/// Whether keys of a purpose are usable in the boot only that they were made in.
const fn is_bound(purpose: Purpose) -> bool {
    match purpose {
        Purpose::CardIdentity | Purpose::TlsClient => true,
        Purpose::FleetCa | Purpose::TlsServer | Purpose::Token => false,
    }
}

pub(super) fn generate(
    context: &mut Context,
    pcrs: &Pcrs,
    purpose: Purpose,
) -> Result<NewKey, BackendError> {
    let policy = policy_digest(context, pcrs, purpose)?;
    let wanted = templates::signing(purpose, policy)?;
    with_parent(context, purpose, |context, parent| {
        let made = authorised(context, |context| {
            Ok(context.create(parent, wanted, None, None, None, None)?)
        })?;
        new_key(purpose, &made.out_public, &made.out_private)
    })
}

/// Loads a key. Whoever asks flushes it.
pub(super) fn load(
    context: &mut Context,
    purpose: Purpose,
    blob: &Blob,
) -> Result<KeyHandle, BackendError> {
    with_parent(context, purpose, |context, parent| {
        let loaded = authorised(context, |context| {
            Ok(context.load(parent, blob.private.clone(), blob.public.clone())?)
        });
        loaded.map_err(|error| not_loaded(purpose, error))
    })
}

/// Signs with a key that is loaded, in a session in which nothing is satisfied yet.
pub(super) fn sign(
    context: &mut Context,
    pcrs: &Pcrs,
    purpose: Purpose,
    key: KeyHandle,
    (session, policy): (AuthSession, PolicySession),
    message: &[u8],
) -> Result<Signature, BackendError> {
    satisfy(context, pcrs, purpose, policy)?;
    context.execute_with_session(Some(session), |context| {
        sign_digest(context, key, curve(purpose), message)
    })
}

/// Whether the policy of a key can be satisfied in this boot, told where signing failed.
pub(super) fn check_policy(
    context: &mut Context,
    pcrs: &Pcrs,
    purpose: Purpose,
    blob: &Blob,
) -> Result<(), BackendError> {
    if policy_digest(context, pcrs, purpose)? == *blob.public.auth_policy() {
        return Ok(());
    }
    Err(not_this_policy(pcrs, purpose))
}

fn policy_digest(
    context: &mut Context,
    pcrs: &Pcrs,
    purpose: Purpose,
) -> Result<Digest, BackendError> {
    with_policy(context, SessionType::Trial, |context, _, session| {
        satisfy(context, pcrs, purpose, session)?;
        Ok(context.policy_get_digest(session)?)
    })
}

/// Brings a session to where the policy of a purpose's keys wants it in this boot.
fn satisfy(
    context: &mut Context,
    pcrs: &Pcrs,
    purpose: Purpose,
    session: PolicySession,
) -> Result<(), BackendError> {
    if is_bound(purpose) {
        // Of the values that hold now: an empty digest leaves them to the TPM.
        context.policy_pcr(session, Digest::default(), pcrs.bound()?)?;
    } else {
        context.policy_command_code(session, CommandCode::Sign)?;
    }
    Ok(())
}

fn sign_digest(
    context: &mut Context,
    key: KeyHandle,
    curve: Curve,
    message: &[u8],
) -> Result<Signature, BackendError> {
    let algorithm = match curve {
        Curve::P256 => HashAlgorithm::Sha256,
        Curve::P384 => HashAlgorithm::Sha384,
    };
    let digest = Digest::try_from(hash(algorithm, message).0)?;
    let hash_scheme = HashScheme::new(templates::hashing(curve));
    let scheme = SignatureScheme::EcDsa { hash_scheme };
    // Not restricted, so that any digest will do without a ticket of where it comes from.
    let ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
        tag: TPM2_ST_HASHCHECK,
        hierarchy: TPM2_RH_NULL,
        digest: Default::default(),
    })?;
    match context.sign(key, digest, scheme, ticket)? {
        structures::Signature::EcDsa(made) => {
            let (r, s) = (made.signature_r().value(), made.signature_s().value());
            Signature::new(curve, r, s).ok_or_else(unexpected)
        }
        _ => Err(unexpected()),
    }
}

fn with_parent<T>(
    context: &mut Context,
    purpose: Purpose,
    work: impl FnOnce(&mut Context, KeyHandle) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let template = templates::parent(purpose)?;
    with_primary(context, Hierarchy::Owner, template, |context, parent, _| {
        work(context, parent)
    })
}

fn not_this_policy(pcrs: &Pcrs, purpose: Purpose) -> BackendError {
    if is_bound(purpose) {
        let pcrs = pcrs.bound_numbers();
        return BackendError::WrongBoot { purpose, pcrs };
    }
    BackendError::Sealed { purpose }
}

/// What the TPM says of the areas themselves (format one) is that they are not what it made under this parent.
fn not_loaded(purpose: Purpose, error: BackendError) -> BackendError {
    use tss_esapi::constants::response_code::Tss2ResponseCode::FormatOne;
    match error {
        BackendError::Refused {
            source: DeviceError::Tpm(Error::Tss2Error(FormatOne(_)) | Error::WrapperError(_)),
            ..
        } => BackendError::Sealed { purpose },
        error => error,
    }
}
