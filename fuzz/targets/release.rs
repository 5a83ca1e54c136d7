//! Release manifests and bundles: the first byte says what the rest is.
#![no_main]

use bartizan_attestation::boot::{Bundle, Manifest, Part, Phase, VerifiedManifest};
use bartizan_attestation::cbor;
use bartizan_fuzz::fleet::FLEET;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    match selector % 3 {
        // Signed by whoever: nobody but the release key's owner is believed.
        0 => {
            let key = FLEET.operator_key.public_key();
            if let Ok(verified) = VerifiedManifest::verify(bytes, &key) {
                assert_eq!(verified.manifest().product, "seed", "a forged release");
            }
        }
        1 => {
            if let Ok(manifest) = cbor::decode_strict::<Manifest>(bytes) {
                check(&manifest);
            }
        }
        _ => {
            if let Ok(bundle) = Bundle::from_bytes(bytes) {
                assert_eq!(bundle.to_bytes(), bytes, "two spellings of one bundle");
                fit(&bundle);
                for file in &bundle.files {
                    assert!(bundle.file(&file.name).is_some());
                }
            }
        }
    }
});

/// A boot could go on from what is verified.
fn fit(bundle: &Bundle) {
    let Ok(verified) = bundle.verify(&FLEET.operator_key.public_key()) else {
        return;
    };
    let manifest = verified.manifest();
    assert_eq!(manifest.product, "seed", "a forged release");
    let mut travelling = manifest.components.iter().filter(|one| one.path.is_none());
    assert!(travelling.all(|one| bundle.file(&one.name).is_some()));
}

/// What is signed is possible.
fn check(manifest: &Manifest) {
    let key = &FLEET.operator_key;
    let Ok(signed) = manifest.sign(key) else {
        return;
    };
    let verified = VerifiedManifest::verify(&signed, &key.public_key());
    let verified = verified.expect("what is signed can be verified");
    assert_eq!(verified.manifest(), manifest);
    for component in &manifest.components {
        assert_eq!(component.phase.part(), manifest.part);
        assert!(!component.sha384.is_empty());
        assert!(
            component
                .path
                .as_ref()
                .is_none_or(|path| path.starts_with('/'))
        );
        assert!(component.path.is_some() || component.phase == Phase::Coordinator);
    }
    let started: usize = Phase::ALL
        .into_iter()
        .map(|phase| manifest.started_in(phase).count())
        .sum();
    let programs = manifest
        .components
        .iter()
        .filter(|component| component.start.is_some());
    assert_eq!(started, programs.count());
    assert!(manifest.part == Part::Bundle || manifest.of(Phase::Hypervisor).next().is_none());
}
