use proptest::prelude::*;

use super::scene::{Key, base, bundle, component, linked, start};
use crate::{
    Bundle, BundleRefusal, BundleReply, BundleRequest, Capability, ComponentError, File, Link,
    Manifest, ManifestError, Part, Phase, SignManifestError, UnfitBundleError, VerifiedManifest,
};

fn refused(manifest: &Manifest) -> ManifestError {
    match manifest.sign(&Key::generate()).unwrap_err() {
        SignManifestError::Manifest(error) => error,
        SignManifestError::Sign(error) => panic!("{error}"),
    }
}

fn changed(change: impl FnOnce(&mut Manifest)) -> ManifestError {
    let mut manifest = base();
    change(&mut manifest);
    refused(&manifest)
}

#[test]
fn what_was_signed_is_what_is_verified() {
    let key = Key::generate();
    for manifest in [base(), bundle()] {
        let signed = manifest.sign(&key).unwrap();
        let verified = VerifiedManifest::verify(&signed, &key.public()).unwrap();
        assert_eq!(verified.manifest(), &manifest);
        assert_eq!(*verified.signer(), key.public().sha256());
    }
}

#[test]
fn another_key_no_signature_and_any_flipped_bit_are_refused() {
    let key = Key::generate();
    let signed = base().sign(&key).unwrap();
    let stranger = Key::generate().public();
    let refused = VerifiedManifest::verify(&signed, &stranger).unwrap_err();
    assert!(
        matches!(refused, ManifestError::Signature { .. }),
        "{refused}"
    );
    let unsigned = bartizan_cose::cbor::encode(&base());
    VerifiedManifest::verify(&unsigned, &key.public()).unwrap_err();
    for at in 0..signed.len() {
        let mut altered = signed.clone();
        altered[at] ^= 1;
        VerifiedManifest::verify(&altered, &key.public()).unwrap_err();
    }
}

#[test]
fn impossible_manifests_are_not_signed() {
    use ManifestError::{Component, EmptyPhase, Order, Product};
    assert!(matches!(changed(|m| m.product.clear()), Product));
    assert!(matches!(changed(|m| m.components.swap(2, 3)), Order { .. }));
    assert!(matches!(
        changed(|m| m.components[4].phase = Phase::Hypervisor),
        Order { .. }
    ));
    assert!(matches!(
        changed(|m| m.components.truncate(3)),
        EmptyPhase(Phase::Devices)
    ));
    let components = [
        (changed(|m| m.components[0].name = "a b".into()), "name"),
        (
            changed(|m| m.components[0].name = "card".into()),
            "two components",
        ),
        (
            changed(|m| m.components[0].path = Some("etc/x".into())),
            "absolute",
        ),
        (changed(|m| m.components[0].path = None), "no path"),
        (changed(|m| m.components[0].sha384.clear()), "no digest"),
        (
            changed(|m| m.components[3].start = start(Phase::Card, &[])),
            "cannot be started",
        ),
        (
            changed(|m| m.components[3].start = start(Phase::Hypervisor, &[])),
            "cannot be started",
        ),
        (
            changed(|m| m.components[2].start = start(Phase::Card, &["{devices}"])),
            "not measured by then",
        ),
        (
            changed(|m| m.components[2].start = start(Phase::Card, &["\0"])),
            "zero byte",
        ),
        (
            changed(|m| {
                m.components[1].start.as_mut().unwrap().environment = vec!["=x".into()];
            }),
            "variable",
        ),
    ];
    for (error, said) in components {
        assert!(matches!(error, Component(_)), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// The vault is started before the rest of its phase is measured.
#[test]
fn the_vault_is_started_with_what_is_measured_before_it() {
    let with = |arguments: &[&str], inherits: &[&str]| {
        changed(|manifest| {
            let mut vaults = start(Phase::Card, arguments).unwrap();
            vaults.inherits = inherits.iter().map(|name| (*name).into()).collect();
            manifest.components[1].start = linked(Some(vaults), Link::Vault);
        })
    };
    for late in [with(&["{card}"], &[]), with(&[], &["card"])] {
        let missing = matches!(
            &late,
            ManifestError::Component(ComponentError::Missing { missing, .. }) if missing == "card"
        );
        assert!(missing, "{late}");
    }
}

#[test]
fn what_a_program_of_the_base_inherits_is_measured_by_then() {
    let inheriting = |phase, names: &[&str]| {
        let mut manifest = base();
        let mut devices = start(phase, &[]).unwrap();
        devices.inherits = names.iter().map(|name| (*name).into()).collect();
        manifest.components[3].start = Some(devices);
        manifest
    };
    for right in ["card", "qemu", "qemu/qemu-system-x86_64", "stage1"] {
        let manifest = inheriting(Phase::Devices, &["vault.yaml", right]);
        manifest.sign(&Key::generate()).unwrap();
    }
    for wrong in ["qemv", "qemu/", "qemu/qemu", "", "hypervisor"] {
        let error = refused(&inheriting(Phase::Devices, &["vault.yaml", wrong]));
        let missing = matches!(
            &error,
            ManifestError::Component(ComponentError::Missing { name, missing })
                if name == "devices" && missing == wrong
        );
        assert!(missing, "{error}");
    }
    // Another's of a later phase.
    let mut early = base();
    early.components[2].start = start(Phase::Card, &[]);
    let card = early.components[2].start.as_mut().unwrap();
    card.inherits = vec!["qemu".into()];
    let error = refused(&early);
    assert!(
        error.to_string().contains("not measured by then"),
        "{error}"
    );
}

/// Nobody would be told of the boot, or would ask for its next phases; or two would.
#[test]
fn a_part_has_the_links_that_its_boot_needs() {
    type Change = fn(&mut Manifest);
    let bases: [(Change, &str, &[Phase]); 7] = [
        (|m| m.components[1].start = None, "vault", &[]),
        (
            |m| m.components[1].start.as_mut().unwrap().link = None,
            "vault",
            &[],
        ),
        (
            |m| m.components[1].start.as_mut().unwrap().phase = Phase::Devices,
            "vault",
            &[Phase::Devices],
        ),
        (
            |m| m.components[2].start = linked(start(Phase::Card, &[]), Link::Vault),
            "vault",
            &[Phase::Card, Phase::Card],
        ),
        (|m| m.components[5].start = None, "coordinator", &[]),
        (
            |m| m.components[2].start = linked(start(Phase::Card, &[]), Link::Coordinator),
            "coordinator",
            &[Phase::Card, Phase::Devices],
        ),
        (
            |m| m.components[2].start = linked(start(Phase::Devices, &[]), Link::Coordinator),
            "coordinator",
            &[Phase::Devices, Phase::Devices],
        ),
    ];
    let bundles: [(Change, &str, &[Phase]); 4] = [
        (|m| m.components[0].start = None, "coordinator", &[]),
        (
            |m| m.components[0].start.as_mut().unwrap().link = None,
            "coordinator",
            &[],
        ),
        (
            |m| m.components[0].start.as_mut().unwrap().phase = Phase::Hypervisor,
            "coordinator",
            &[Phase::Hypervisor],
        ),
        (
            |m| m.components[1].start = linked(start(Phase::Hypervisor, &[]), Link::Coordinator),
            "coordinator",
            &[Phase::Coordinator, Phase::Hypervisor],
        ),
    ];
    for (manifest, changes) in [(base(), &bases[..]), (bundle(), &bundles[..])] {
        for (change, name, started) in changes {
            let mut changed = manifest.clone();
            change(&mut changed);
            match refused(&changed) {
                ManifestError::Link { link, found, .. } => {
                    assert_eq!((link, &found[..]), (*name, *started));
                }
                other => panic!("{other}"),
            }
        }
    }
    let mut second = bundle();
    second.components[1].start = linked(start(Phase::Hypervisor, &[]), Link::Vault);
    assert!(matches!(refused(&second), ManifestError::Vault(name) if name == "hypervisor"));
}

#[test]
fn a_capability_has_one_name_and_no_other_is_read() {
    let mut manifest = base();
    let start = manifest.components[1].start.as_mut().unwrap();
    start.capabilities = Capability::ALL.into();
    let bytes = bartizan_cose::cbor::encode(&manifest);
    let read: Manifest = bartizan_cose::cbor::decode_strict(&bytes).unwrap();
    assert_eq!(read, manifest);
    for one in Capability::ALL {
        assert_eq!(Capability::named(one.name()), Ok(one));
    }
    for none in ["KILL", "cap_kill", "sys_admin", "kil1", ""] {
        let said = Capability::named(none).unwrap_err().to_string();
        assert!(said.contains("dac_override, kill"), "{said}");
    }
    // As long as the right one, so that nothing else is wrong with it.
    let at = bytes.windows(4).position(|four| four == b"kill").unwrap();
    let altered = [&bytes[..at], b"kil1", &bytes[at + 4..]].concat();
    let refused = bartizan_cose::cbor::decode_strict::<Manifest>(&altered).unwrap_err();
    assert!(refused.to_string().contains("kil1"), "{refused}");
}

#[test]
fn a_program_inherits_what_it_names_and_what_lies_beneath() {
    let mut one = start(Phase::Card, &["--config", "{vault.yaml}"]).unwrap();
    one.inherits = vec!["qemu".into()];
    for (name, inherited) in [
        ("vault.yaml", true),
        ("qemu", true),
        ("qemu/lib/libc.so.6", true),
        ("qemu-other", false),
        ("card", false),
    ] {
        assert_eq!(one.inherits(name), inherited, "{name}");
    }
}

#[test]
fn a_bundle_has_one_spelling() {
    let bundle = Bundle {
        manifest: bundle().sign(&Key::generate()).unwrap().into(),
        files: vec![File {
            name: "stage2".into(),
            contents: vec![7; 100].into(),
        }],
    };
    let bytes = bundle.to_bytes();
    let read = Bundle::from_bytes(&bytes).unwrap();
    assert_eq!(read.file("stage2"), Some(&[7; 100][..]));
    assert_eq!(read.file("stage1"), None);
    Bundle::from_bytes(&bytes[1..]).unwrap_err();
    Bundle::from_bytes(&[bytes, vec![0]].concat()).unwrap_err();
    let files = (0..17).map(|number| File {
        name: number.to_string(),
        contents: Vec::new().into(),
    });
    let many = Bundle {
        manifest: Vec::new().into(),
        files: files.collect(),
    };
    Bundle::from_bytes(&many.to_bytes()).unwrap_err();
}

/// A bundle of one file, which is what its manifest says.
fn fit(key: &Key) -> Bundle {
    Bundle {
        manifest: bundle().sign(key).unwrap().into(),
        files: vec![File {
            name: "stage2".into(),
            contents: b"stage2".to_vec().into(),
        }],
    }
}

#[test]
fn a_bundle_that_would_stop_each_boot_is_found_before() {
    let key = Key::generate();
    let verify = |bundle: &Bundle| bundle.verify(&key.public());
    let verified = verify(&fit(&key)).unwrap();
    assert_eq!(verified.manifest().version, 3);
    let strangers = verify(&fit(&Key::generate())).unwrap_err();
    assert!(matches!(strangers, UnfitBundleError::Manifest(_)));
    let mut other = fit(&key);
    other.manifest = base().sign(&key).unwrap().into();
    let part = verify(&other).unwrap_err();
    assert!(matches!(part, UnfitBundleError::Part(Part::Base)));
    let mut empty = fit(&key);
    empty.files.clear();
    let missing = verify(&empty).unwrap_err();
    assert!(matches!(missing, UnfitBundleError::Missing(name) if name == "stage2"));
    let mut altered = fit(&key);
    altered.files[0].contents[0] ^= 1;
    let altered = verify(&altered).unwrap_err();
    assert!(matches!(altered, UnfitBundleError::Other { name, .. } if name == "stage2"));
}

#[test]
fn what_was_served_wrongly_is_no_absence() {
    for (refusal, absence, may_pass) in [
        (BundleRefusal::NotEnrolled, true, false),
        (BundleRefusal::NotPublished, true, false),
        (BundleRefusal::VerifierAway(String::new()), true, true),
        (BundleRefusal::LinkUnusable(String::new()), true, true),
        (BundleRefusal::Busy, true, true),
        (BundleRefusal::TooLarge, false, false),
        (BundleRefusal::VerifierUnclear(String::new()), false, false),
        (refused_with(403), true, false),
        (refused_with(429), true, true),
        (refused_with(503), true, true),
    ] {
        assert_eq!(
            (refusal.is_absence(), refusal.may_pass()),
            (absence, may_pass),
            "{refusal}"
        );
    }
}

fn refused_with(status: u16) -> BundleRefusal {
    BundleRefusal::VerifierRefused {
        status,
        problem: String::new(),
    }
}

#[test]
fn lists_are_bounded_while_they_are_read() {
    let mut many = base();
    many.components = (0..1025)
        .map(|number| component(Phase::Card, &number.to_string()))
        .collect();
    let bytes = bartizan_cose::cbor::encode(&many);
    bartizan_cose::cbor::decode_strict::<Manifest>(&bytes).unwrap_err();
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = VerifiedManifest::verify(&bytes, &Key::generate().public());
        let _ = Bundle::from_bytes(&bytes);
        let _ = bartizan_cose::cbor::decode_strict::<Manifest>(&bytes);
        let _ = bartizan_cose::cbor::decode_strict::<BundleRequest>(&bytes);
        let _ = bartizan_cose::cbor::decode_strict::<BundleReply>(&bytes);
    }
}
