//! Quotes: the TPM's own word on the registers and the host's PCRs.

use tss_esapi::Context;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::structures::{Data, HashScheme, SignatureScheme};
use tss_esapi::traits::Marshall;

use super::handles::{authorised, with_primary};
use super::pcrs::Pcrs;
use super::{templates, unexpected};
use crate::backend::{BackendError, Quote};

pub(super) fn quote(
    context: &mut Context,
    pcrs: &Pcrs,
    nonce: &[u8],
) -> Result<Quote, BackendError> {
    let nonce = Data::try_from(nonce.to_vec())?;
    let values = pcrs.values(context)?;
    let quoted = pcrs.quoted()?;
    let scheme = SignatureScheme::EcDsa {
        hash_scheme: HashScheme::new(HashingAlgorithm::Sha384),
    };
    let template = templates::attestation()?;
    with_primary(
        context,
        Hierarchy::Owner,
        template,
        |context, key, public| {
            let (attested, signature) = authorised(context, |context| {
                Ok(context.quote(key, nonce, scheme, quoted)?)
            })?;
            let public = public.marshall()?;
            let length = u16::try_from(public.len()).map_err(|_| unexpected())?;
            Ok(Quote {
                attested: attested.marshall()?,
                signature: signature.marshall()?,
                public: [&length.to_be_bytes(), &*public].concat(),
                pcrs: values,
            })
        },
    )
}
