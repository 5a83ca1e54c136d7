//! The hypervisor's place at the enclave's link: its user, and a key that the card certifies for it.

use std::sync::Arc;

use anyhow::{Result, bail};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::host::{CardReply, CardRequest, MAX_FRAME};
use bartizan_attestation::identity::GuestIdentity;
use bartizan_channel::{Identity, LocalSigner};
use bartizan_local::{read_frame, write_frame};
use bartizan_tests::stack::Host;
use uuid::Uuid;

/// What it shows to an enclave.
pub(super) fn identity(host: &Host) -> Result<Arc<Identity>> {
    let key = EphemeralKey::generate()?;
    let request = CardRequest::CertifyHypervisor { csr: key.csr()? };
    let CardReply::Chain(chain) = ask(host, &request)? else {
        bail!("the card certifies no hypervisor");
    };
    let signer = LocalSigner::from_pkcs8(key.pkcs8_der())?;
    let chain = chain.into_iter().map(|der| der.to_vec()).collect();
    Ok(Arc::new(Identity::new(chain, Arc::new(signer))))
}

/// A boot of a VM, which is never started.
pub(super) fn next_boot(host: &Host, vm: Uuid) -> Result<GuestIdentity> {
    let request = CardRequest::NextBoot {
        vm: *vm.as_bytes(),
        operator: "alice".into(),
    };
    match ask(host, &request)? {
        CardReply::Guest(guest) => Ok(guest),
        other => bail!("no boot: {other:?}"),
    }
}

fn ask(host: &Host, request: &CardRequest) -> Result<CardReply> {
    let card = host.layout.path("run/card/card.sock");
    let mut link = host.users.hypervisor.connect(&card)?;
    write_frame(&mut link, request, MAX_FRAME)?;
    Ok(read_frame(&mut link, MAX_FRAME)?)
}
