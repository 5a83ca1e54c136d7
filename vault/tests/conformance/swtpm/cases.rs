//! What holds for TPMs alone, as tpm2-tools see it.

use bartizan_attestation::boot::Sha384;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use bartizan_attestation::cose::PublicKey;
use bartizan_attestation::keys::{Purpose, TpmCertified};
use bartizan_attestation::tpm::{
    CertifyError, PublicArea, QuoteError, make_credential, verify_certified, verify_quote,
};
use bartizan_vault::backend::{Activated, Backend, BackendError, Encoding, NewKey, StoredKey};
use bartizan_vault::config::TpmConfig;
use bartizan_vault::registers::Register;
use bartizan_vault::tpm2::Tpm2;

use super::simulator::Simulator;
use crate::Case;
use crate::programs::demand;
use crate::rig::{Rig, Store};

pub(crate) const CASES: &[Case] = &[
    (
        "another_boot_cannot_use_bound_keys",
        another_boot_cannot_use_bound_keys,
    ),
    (
        "keys_are_bound_to_the_hosts_pcrs",
        keys_are_bound_to_the_hosts_pcrs,
    ),
    (
        "keys_are_not_bound_to_pcrs_that_are_only_quoted",
        keys_are_not_bound_to_pcrs_that_are_only_quoted,
    ),
    (
        "a_restarted_tpm_keeps_bound_keys_shut",
        a_restarted_tpm_keeps_bound_keys_shut,
    ),
    ("registers_cannot_be_reset", registers_cannot_be_reset),
    (
        "tpm2_checkquote_verifies_a_quote",
        tpm2_checkquote_verifies_a_quote,
    ),
    ("tpm2_tools_cannot_use_a_blob", tpm2_tools_cannot_use_a_blob),
    (
        "a_credential_opens_for_the_object_that_it_names",
        a_credential_opens_for_the_object_that_it_names,
    ),
    (
        "a_tpm_certifies_its_own_keys_for_one_nonce",
        a_tpm_certifies_its_own_keys_for_one_nonce,
    ),
    (
        "what_others_left_loaded_makes_room",
        what_others_left_loaded_makes_room,
    ),
    ("nothing_stays_loaded", nothing_stays_loaded),
    ("a_tpm_without_sha384_is_told", a_tpm_without_sha384_is_told),
];

fn sign(backend: &dyn Backend, purpose: Purpose, key: &NewKey) -> Result<(), BackendError> {
    let id = key.public.sha256();
    let stored = StoredKey {
        id: &id,
        blob: &key.blob,
    };
    let signed = backend.sign(purpose, &stored, b"message", Encoding::Fixed)?;
    assert!(key.public.verify(b"message", &signed).is_ok());
    Ok(())
}

fn wrong_boot(signed: Result<(), BackendError>) -> Vec<u8> {
    match signed {
        Err(BackendError::WrongBoot { pcrs, .. }) => pcrs,
        other => panic!("{other:?}"),
    }
}

fn tool(rig: &dyn Rig, name: &str) -> Command {
    let mut tool = Command::new(name);
    tool.env("TPM2TOOLS_TCTI", rig.tcti());
    tool
}

fn config(tcti: String, host_pcrs: &[u8]) -> TpmConfig {
    TpmConfig {
        tcti: tcti.try_into().unwrap(),
        measurement_pcr: 12,
        authority_pcr: 15,
        host_pcrs: host_pcrs.to_vec(),
        quoted_pcrs: Vec::new(),
    }
}

fn another_boot_cannot_use_bound_keys(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    backend
        .extend(Register::Authority, &Sha384([7; 48]))
        .unwrap();
    let bound = [Purpose::CardIdentity, Purpose::TlsClient]
        .map(|purpose| (purpose, backend.generate(purpose).unwrap()));
    let free = backend.generate(Purpose::TlsServer).unwrap();
    // What was started may change, as long as the same vouch for it.
    backend
        .extend(Register::Measurement, &Sha384([1; 48]))
        .unwrap();
    for (purpose, key) in &bound {
        sign(&*backend, *purpose, key).unwrap();
    }
    backend
        .extend(Register::Authority, &Sha384([8; 48]))
        .unwrap();
    for (purpose, key) in &bound {
        assert_eq!(wrong_boot(sign(&*backend, *purpose, key)), [15]);
    }
    sign(&*backend, Purpose::TlsServer, &free).unwrap();
}

fn keys_are_bound_to_the_hosts_pcrs(rig: &dyn Rig) {
    let backend = Tpm2::open(&config(rig.tcti(), &[7, 0])).unwrap();
    let key = backend.generate(Purpose::CardIdentity).unwrap();
    sign(&backend, Purpose::CardIdentity, &key).unwrap();
    drop(backend);
    demand(tool(rig, "tpm2_pcrextend").arg(format!("7:sha384={}", "ab".repeat(48))));
    let backend = Tpm2::open(&config(rig.tcti(), &[7, 0])).unwrap();
    let signed = sign(&backend, Purpose::CardIdentity, &key);
    assert_eq!(wrong_boot(signed), [0, 7, 15]);
}

fn keys_are_not_bound_to_pcrs_that_are_only_quoted(rig: &dyn Rig) {
    let quoting = TpmConfig {
        quoted_pcrs: vec![4, 0],
        ..config(rig.tcti(), &[7])
    };
    let backend = Tpm2::open(&quoting).unwrap();
    let key = backend.generate(Purpose::CardIdentity).unwrap();
    let before = backend.quote(&[1; 32]).unwrap().unwrap().pcrs;
    assert_eq!(
        before.keys().copied().collect::<Vec<_>>(),
        [0, 4, 7, 12, 15]
    );
    drop(backend);
    demand(tool(rig, "tpm2_pcrextend").arg(format!("4:sha384={}", "ab".repeat(48))));
    let backend = Tpm2::open(&quoting).unwrap();
    sign(&backend, Purpose::CardIdentity, &key).unwrap();
    let quote = backend.quote(&[1; 32]).unwrap().unwrap();
    let mut expected = before.clone();
    expected.insert(4, Sha384::of(&[before[&4].0, [0xab; 48]].concat()));
    assert_eq!(quote.pcrs, expected);
    let key = PublicArea::parse(&quote.public[2..]).unwrap();
    let key = key.attestation_key().unwrap();
    verify_quote(&quote.attested, &quote.signature, key, &[1; 32], &expected).unwrap();
}

fn a_restarted_tpm_keeps_bound_keys_shut(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    backend
        .extend(Register::Authority, &Sha384([7; 48]))
        .unwrap();
    let key = backend.generate(Purpose::CardIdentity).unwrap();
    sign(&*backend, Purpose::CardIdentity, &key).unwrap();
    rig.take_away();
    rig.put_back();
    assert_eq!(
        wrong_boot(sign(&*backend, Purpose::CardIdentity, &key)),
        [15]
    );
    assert_eq!(backend.registers().unwrap().authority, Sha384::ZERO);
    backend
        .extend(Register::Authority, &Sha384([7; 48]))
        .unwrap();
    sign(&*backend, Purpose::CardIdentity, &key).unwrap();
}

fn registers_cannot_be_reset(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    backend
        .extend(Register::Measurement, &Sha384([1; 48]))
        .unwrap();
    backend
        .extend(Register::Authority, &Sha384([2; 48]))
        .unwrap();
    let values = backend.registers().unwrap();
    drop(backend);
    for pcr in ["12", "15"] {
        let reset = tool(rig, "tpm2_pcrreset").arg(pcr).output().unwrap();
        assert!(!reset.status.success(), "{reset:?}");
    }
    assert_eq!(rig.open(Store::First).registers().unwrap(), values);
}

fn tpm2_checkquote_verifies_a_quote(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    backend
        .extend(Register::Measurement, &Sha384([1; 48]))
        .unwrap();
    let quote = backend.quote(&[0xab; 32]).unwrap().unwrap();
    let again = backend.quote(&[0xcd; 32]).unwrap().unwrap();
    assert_eq!(again.public, quote.public);
    for length in [0, 65] {
        let refused = backend.quote(&vec![0; length]);
        assert!(matches!(refused, Err(BackendError::Nonce { .. })));
    }
    // As a verifier does it.
    let key = PublicArea::parse(&quote.public[2..]).unwrap();
    let key = key.attestation_key().unwrap();
    let verify = |nonce: &[u8], pcrs: &BTreeMap<u8, Sha384>| {
        verify_quote(&quote.attested, &quote.signature, key, nonce, pcrs)
    };
    assert_eq!(verify(&[0xab; 32], &quote.pcrs), Ok(()));
    assert_eq!(verify(&[0xcd; 32], &quote.pcrs), Err(QuoteError::Nonce));
    let mut other = quote.pcrs.clone();
    other.insert(12, Sha384([2; 48]));
    assert_eq!(verify(&[0xab; 32], &other), Err(QuoteError::Pcrs));
    drop(backend);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let check = |attested: &Path, nonce: &str| {
        Command::new("tpm2_checkquote")
            .arg("-u")
            .arg(file("public", &quote.public))
            .arg("-m")
            .arg(attested)
            .arg("-s")
            .arg(file("signature", &quote.signature))
            .args(["-g", "sha384", "-q", nonce])
            .output()
            .unwrap()
    };
    let attested = file("attested", &quote.attested);
    let (right, wrong) = ("ab".repeat(32), "cd".repeat(32));
    let checked = check(&attested, &right);
    assert!(checked.status.success(), "{checked:?}");
    let mut altered = quote.attested.clone();
    *altered.last_mut().unwrap() ^= 1;
    assert!(!check(&file("altered", &altered), &right).status.success());
    assert!(!check(&attested, &wrong).status.success());
    // The very PCRs: the digest over both values, in ascending order.
    demand(
        tool(rig, "tpm2_pcrread")
            .args(["sha384:12,15", "-o"])
            .arg(folder.path().join("pcrs")),
    );
    let values = fs::read(folder.path().join("pcrs")).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, &values);
    assert!(quote.attested.ends_with(digest.as_ref()));
}

fn tpm2_tools_cannot_use_a_blob(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let key = backend.generate(Purpose::CardIdentity).unwrap();
    drop(backend);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (length, rest) = key.blob.split_first_chunk::<2>().unwrap();
    let (public, private) = rest.split_at(u16::from_be_bytes(*length).into());
    fs::write(path("public"), [length.as_slice(), public].concat()).unwrap();
    // The private area as the TPM wrote it, with its own length.
    let length = u16::try_from(private.len()).unwrap().to_be_bytes();
    fs::write(path("private"), [&length, private].concat()).unwrap();
    // The parent of the purpose: its name's digest is the template's `unique`.
    let name = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        b"bartizan-vault/1/card-identity",
    );
    let unique = [&[32, 0], name.as_ref(), &[0, 0]].concat();
    fs::write(path("unique"), unique).unwrap();
    demand(
        tool(rig, "tpm2_createprimary")
            .args(["-C", "o", "-G", "ecc256:aes128cfb", "-a"])
            .arg("fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt")
            .arg("-u")
            .arg(path("unique"))
            .arg("-c")
            .arg(path("parent")),
    );
    demand(
        tool(rig, "tpm2_load")
            .arg("-C")
            .arg(path("parent"))
            .arg("-u")
            .arg(path("public"))
            .arg("-r")
            .arg(path("private"))
            .arg("-c")
            .arg(path("key")),
    );
    fs::write(path("message"), b"message").unwrap();
    let sign = |auth: &[&str]| {
        // Without a resource manager the tools leave loaded what they load.
        demand(tool(rig, "tpm2_flushcontext").arg("--transient-object"));
        tool(rig, "tpm2_sign")
            .args(["-g", "sha384", "-s", "ecdsa", "-c"])
            .arg(path("key"))
            .arg("-o")
            .arg(path("signature"))
            .args(auth)
            .arg(path("message"))
            .output()
            .unwrap()
    };
    let refused = sign(&[]);
    assert!(!refused.status.success(), "{refused:?}");
    let by_policy = "pcr:sha384:15";
    let signed = sign(&["-p", by_policy]);
    assert!(signed.status.success(), "{signed:?}");
    demand(tool(rig, "tpm2_pcrextend").arg(format!("15:sha384={}", "ab".repeat(48))));
    let refused = sign(&["-p", by_policy]);
    assert!(!refused.status.success(), "{refused:?}");
}

fn a_tpm_certifies_its_own_keys_for_one_nonce(rig: &dyn Rig) {
    let purpose = Purpose::CardIdentity;
    let certified = |backend: &dyn Backend| {
        let key = backend.generate(purpose).unwrap();
        let id = key.public.sha256();
        let stored = StoredKey {
            id: &id,
            blob: &key.blob,
        };
        let said = backend.certify(purpose, &stored, &[7; 32]).unwrap();
        let shown = backend.describe_tpm(purpose, &stored).unwrap().unwrap();
        let attestation = PublicArea::parse(&shown.attestation).unwrap();
        let attestation = attestation.attestation_key().unwrap().clone();
        (said.unwrap(), attestation, key)
    };
    let (said, own, key) = certified(&*rig.open(Store::First));
    let (theirs, other, _) = certified(&*rig.open(Store::Second));
    let verify = |said: &TpmCertified, by: &PublicKey, nonce: &[u8], area: &PublicArea| {
        verify_certified(&said.attested, &said.signature, by, nonce, area).cloned()
    };
    let area = |said: &TpmCertified| PublicArea::parse(&said.public).unwrap();
    let right = verify(&said, &own, &[7; 32], &area(&said));
    assert_eq!(right, Ok(key.public));
    let refused = verify(&said, &own, &[8; 32], &area(&said));
    assert_eq!(refused, Err(CertifyError::Nonce));
    // Another TPM's word on its own key, and on this one's.
    for shown in [&theirs, &said] {
        let refused = verify(&theirs, &own, &[7; 32], &area(shown));
        assert_eq!(refused, Err(CertifyError::Signature));
    }
    let refused = verify(&theirs, &other, &[7; 32], &area(&said));
    assert_eq!(refused, Err(CertifyError::OtherObject));
}

fn a_credential_opens_for_the_object_that_it_names(rig: &dyn Rig) {
    // None, and one certificate more each time: the last is preferred to those before.
    for index in [
        None,
        Some("0x01c00002"),
        Some("0x01c0000a"),
        Some("0x01c00016"),
    ] {
        if let Some(index) = index {
            let size = ["-C", "o", "-s", "5", "-a", "ownerread|authread|ownerwrite"];
            demand(tool(rig, "tpm2_nvdefine").args(size).arg(index));
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("certificate"), index.split_at(5).1).unwrap();
            let mut write = tool(rig, "tpm2_nvwrite");
            write
                .args(["-C", "o", "-i"])
                .arg(folder.path().join("certificate"));
            demand(write.arg(index));
        }
        let backend = Tpm2::open(&config(rig.tcti(), &[])).unwrap();
        let endorsement = backend.endorsement().unwrap();
        let expected = index.map(|index| index.split_at(5).1.as_bytes().to_vec());
        assert_eq!(endorsement.certificate, expected);
        let quote = backend.quote(b"nonce").unwrap().unwrap();
        drop(backend);
        let (credential, secret) = made_by_tools(rig, &endorsement.public, &quote.public);
        let backend = Tpm2::open(&config(rig.tcti(), &[])).unwrap();
        let attests = Activated::Attestation;
        let opened = backend.activate_credential(attests, &credential, &secret);
        let opened = opened.unwrap();
        assert_eq!(opened, b"a secret", "{index:?}");
        let mut altered = credential.clone();
        *altered.last_mut().unwrap() ^= 1;
        let refused = backend.activate_credential(attests, &altered, &secret);
        assert!(refused.is_err());
        opens_what_a_verifier_encrypts(&backend, &endorsement.public);
    }
}

/// For each object what was encrypted for it, and nothing else.
fn opens_what_a_verifier_encrypts(backend: &Tpm2, endorsement: &[u8]) {
    let endorsement = PublicArea::parse(&endorsement[2..]).unwrap();
    let purpose = Purpose::CardIdentity;
    let [key, other] = [(); 2].map(|()| backend.generate(purpose).unwrap());
    let stored = |key: &NewKey| (key.public.sha256(), key.blob.clone());
    let [key, other] = [&key, &other].map(stored);
    let described = |(id, blob): &([u8; 32], Vec<u8>)| {
        let described = backend.describe_tpm(purpose, &StoredKey { id, blob });
        described.unwrap().unwrap()
    };
    let shown = described(&key);
    let card = PublicArea::parse(&shown.card).unwrap();
    assert_eq!(card.policy_bound_signer().unwrap().sha256(), key.0);
    let attestation = PublicArea::parse(&shown.attestation).unwrap();
    attestation.attestation_key().unwrap();
    assert_eq!(PublicArea::parse(&shown.endorsement).unwrap(), endorsement);

    let [of_key, of_other] =
        [&key, &other].map(|(id, blob)| Activated::Key(purpose, StoredKey { id, blob }));
    let secret = [5; 32];
    for (area, right, wrong) in [
        (&card, of_key, Activated::Attestation),
        (&card, of_key, of_other),
        (&attestation, Activated::Attestation, of_key),
    ] {
        let made = make_credential(&endorsement, &area.name(), &secret).unwrap();
        let open = |object| backend.activate_credential(object, &made.credential, &made.secret);
        assert_eq!(open(right).unwrap(), secret);
        assert!(open(wrong).is_err(), "a secret of another object");
    }
}

/// TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, as tpm2-tools make them for a verifier.
fn made_by_tools(rig: &dyn Rig, endorsement: &[u8], attestation: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ek"), endorsement).unwrap();
    fs::write(path("secret"), b"a secret").unwrap();
    // A key's name: its name algorithm (SHA-256 is 0x000b), and the digest of TPMT_PUBLIC.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &attestation[2..]);
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut make = tool(rig, "tpm2_makecredential");
    make.arg("-u").arg(path("ek")).arg("-s").arg(path("secret"));
    demand(
        make.args(["-n", &format!("000b{hex}"), "-o"])
            .arg(path("made")),
    );
    demand(tool(rig, "tpm2_flushcontext").arg("--transient-object"));
    let made = fs::read(path("made")).unwrap();
    // A magic number and a version of four bytes each, then the two structures, each after its length.
    let (length, rest) = made[8..].split_first_chunk().unwrap();
    let (credential, rest) = rest.split_at(u16::from_be_bytes(*length).into());
    (credential.to_vec(), rest[2..].to_vec())
}

fn nothing_stays_loaded(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let key = backend.generate(Purpose::CardIdentity).unwrap();
    // More often than a TPM has room, in success and in failure.
    for _ in 0..8 {
        sign(&*backend, Purpose::CardIdentity, &key).unwrap();
    }
    backend
        .extend(Register::Authority, &Sha384([7; 48]))
        .unwrap();
    let mut altered = key.clone();
    *altered.blob.last_mut().unwrap() ^= 1;
    for _ in 0..8 {
        wrong_boot(sign(&*backend, Purpose::CardIdentity, &key));
        assert!(sign(&*backend, Purpose::CardIdentity, &altered).is_err());
    }
    drop(backend);
    for kind in [
        "handles-transient",
        "handles-loaded-session",
        "handles-saved-session",
    ] {
        let loaded = demand(tool(rig, "tpm2_getcap").arg(kind));
        assert_eq!(loaded, "", "{kind}");
    }
}

fn what_others_left_loaded_makes_room(rig: &dyn Rig) {
    let backend = rig.open(Store::First);
    let key = backend.generate(Purpose::CardIdentity).unwrap();
    sign(&*backend, Purpose::CardIdentity, &key).unwrap();
    drop(backend);
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        // Like a vault that was killed amid signing: the tools flush nothing.
        for _ in 0..3 {
            let mut leave = tool(rig, "tpm2_createprimary");
            demand(
                leave
                    .args(["-C", "o", "-c"])
                    .arg(folder.path().join("primary")),
            );
        }
        let backend = rig.open(Store::First);
        sign(&*backend, Purpose::CardIdentity, &key).unwrap();
    }
}

fn a_tpm_without_sha384_is_told(rig: &dyn Rig) {
    let _unused = rig;
    let folder = tempfile::tempdir().unwrap();
    let old = Simulator::old(&folder.path().join("old"));
    let opened = Tpm2::open(&config(old.tcti(), &[]));
    let said = opened.unwrap_err().to_string();
    assert!(said.contains("tpm2_pcrallocate"), "{said}");
}
