//! What launcher, vault, coordinator and card tell one another of a boot: the first byte says which, the rest is one frame's message.
#![no_main]

use bartizan_attestation::boot::{
    BundleReply, BundleRequest, CoordinatorAnswer, CoordinatorStep, Refusal, Sequence, VaultAnswer,
    VaultStep, VerifiedManifest,
};
use bartizan_attestation::cose::PublicKey;
use bartizan_local::{decode, encode};
use libfuzzer_sys::fuzz_target;
use minicbor::{Decode, Encode};

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    match selector % 7 {
        0 => walk(bytes),
        1 => one::<VaultAnswer>(bytes),
        2 => one::<CoordinatorStep>(bytes),
        3 => one::<CoordinatorAnswer>(bytes),
        5 => one::<BundleRequest>(bytes),
        6 => {
            one::<BundleReply>(bytes);
            if let Ok(BundleReply::Refused(refusal)) = decode(bytes) {
                assert!(refusal.to_string().len() < 4 * bytes.len() + 1024);
                assert!(refusal.is_absence() || !refusal.may_pass());
            }
        }
        _ => {
            if let Ok(refusal) = decode::<Refusal>(bytes) {
                // Shown to people, of bounded length.
                assert!(refusal.to_string().len() < 4 * bytes.len() + 1024);
            }
        }
    }
});

fn one<M: Encode<()> + for<'b> Decode<'b, ()>>(bytes: &[u8]) {
    if let Ok(message) = decode::<M>(bytes) {
        assert_eq!(encode(&message), bytes, "two spellings of one message");
    }
}

/// Steps as the vault takes them, one after another; whatever they are, no phase ends by them without a signed release.
fn walk(mut bytes: &[u8]) {
    let mut sequence = Sequence::new([7; 32]);
    while let Some((&length, rest)) = bytes.split_first() {
        let (frame, rest) = rest.split_at(usize::from(length).min(rest.len()));
        bytes = rest;
        let Ok(step) = decode::<VaultStep>(frame) else {
            continue;
        };
        match step {
            VaultStep::Begin { release_key, .. } => {
                let _ = PublicKey::from_spki_der(&release_key);
            }
            VaultStep::Release(signed) => {
                let key = bartizan_fuzz::fleet::FLEET.operator_key.public_key();
                if let Ok(manifest) = VerifiedManifest::verify(&signed, &key) {
                    let _ = sequence.accept(manifest, 0);
                }
            }
            VaultStep::Measure { name, sha384 } => {
                let _ = sequence.measure(&name, sha384);
            }
            VaultStep::Complete(phase) => {
                let _ = sequence.complete(phase);
            }
            VaultStep::Booted | VaultStep::Firmware(_) => {}
            VaultStep::Fail(refusal) => {
                sequence.fail(&refusal);
            }
        }
        assert_eq!(
            sequence.completed(),
            None,
            "a phase ended without a release of its signer"
        );
    }
}
