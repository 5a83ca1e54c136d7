//! What both sides agree on without negotiating.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::CertificateDer;

use crate::error::ChannelError;

/// The protocol versions: one.
pub(crate) const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// aws-lc, with the hybrid key exchange first (draft-ietf-tls-ecdhe-mlkem).
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}

/// The fleet's CAs as the only roots.
pub(crate) fn roots(cas: &[impl AsRef<[u8]>]) -> Result<Arc<RootCertStore>, ChannelError> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots
            .add(CertificateDer::from(ca.as_ref()))
            .map_err(ChannelError::FleetCa)?;
    }
    Ok(Arc::new(roots))
}
