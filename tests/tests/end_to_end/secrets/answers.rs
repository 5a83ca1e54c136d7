//! What may be asked of the vaults by who may ask, and of the card and the verifier by an administrator: no answer has a piece of a key.

use anyhow::{Result, ensure};
use bartizan_attestation::keys::{VaultReply, VaultRequest};
use bartizan_local::encode;
use bartizan_tests::stack::Stack;

use super::Door;
use super::forms::Needles;

/// What describes keys. All others answer certificates and signatures, or that something was done.
const DESCRIBING: [VaultRequest; 5] = [
    VaultRequest::Describe,
    VaultRequest::History,
    VaultRequest::DescribeBoot,
    VaultRequest::DescribeTpm,
    VaultRequest::DescribeFleetCas,
];

pub(super) fn give_nothing_away(stack: &Stack, needles: &Needles) -> Result<()> {
    let mut answered = 0;
    for door in [Door::of_host(stack)?, Door::of_verifier(stack)?] {
        for request in &DESCRIBING {
            let reply = door.ask(request)?;
            answered += usize::from(!matches!(reply, VaultReply::Refused(_)));
            let found = needles.search(&mut encode(&reply).as_slice())?;
            ensure!(found.is_empty(), "{request:?} gives a key away");
        }
    }
    // A host's vault has no TPM here; a verifier's neither that nor a boot.
    ensure!(answered >= 6, "{answered} answers only");
    for command in [
        ["key", "list", "host"].as_slice(),
        &["key", "list", "verifier"],
        &["key", "history", "host"],
        &["key", "history", "verifier"],
    ] {
        let said = stack.operator.must(command)?.to_string();
        let found = needles.search(&mut said.as_bytes())?;
        ensure!(found.is_empty(), "{command:?} gives a key away");
    }
    Ok(())
}
