use bartizan_attestation::certificates::Usage;
use bartizan_attestation::csr::EphemeralKey;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
};

use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;

use super::*;

struct Ca {
    key: EphemeralKey,
    der: Vec<u8>,
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

impl Ca {
    fn new() -> Self {
        let key = EphemeralKey::generate().unwrap();
        let der = params().self_signed(&key).unwrap().der().to_vec();
        Self { key, der }
    }

    fn certify(&self, other: &Self, believed: Vec<&[u64]>) -> Vec<u8> {
        let issuer = Issuer::new(params(), &self.key);
        let mut params = params();
        params.extended_key_usages = (believed.into_iter())
            .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
            .collect();
        let link = params.signed_by(&other.key, &issuer).unwrap();
        link.der().to_vec()
    }
}

/// What the verifier answers when the last of these took the places of the others.
fn answer(cas: &[&Ca]) -> Value {
    let (present, _) = cas.split_last().unwrap();
    let former = cas.windows(2).map(|two| {
        json!({
            "fleet_ca": B64.encode(&two[0].der),
            "new_with_old": B64.encode(two[0].certify(two[1], Vec::new())),
            "old_with_new": B64.encode(two[1].certify(two[0], Usage::of_former_ca())),
        })
    });
    json!({ "fleet_ca": B64.encode(&present.der), "former": former.collect::<Vec<_>>() })
}

fn trusting(ca: &Ca) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet-ca.pem");
    fs::write(&path, pem(&ca.der)).unwrap();
    (folder, path)
}

fn trusted(path: &Path) -> Vec<u8> {
    read_fleet_ca(path).unwrap().der().to_vec()
}

#[test]
fn a_folder_follows_the_fleet_ca_and_keeps_the_former_one() {
    let [old, new, newest] = [(); 3].map(|()| Ca::new());
    let (_folder, path) = trusting(&old);
    let told = answer(&[&old, &new]);
    let rolled = roll(&path, &told).unwrap();
    assert_eq!(rolled["rolled"], true);
    assert_eq!(trusted(&path), new.der);
    let kept = PathBuf::from(rolled["former"].as_str().unwrap());
    let kept = CertificateDer::from_pem_file(kept).unwrap();
    assert_eq!(kept.as_ref(), old.der);
    // What the former one certified is verified still.
    let linked = read_fleet_ca(&path).unwrap().linked().count();
    assert_eq!(linked, 1);
    assert_eq!(roll(&path, &told).unwrap()["rolled"], false);
    let rolled = roll(&path, &answer(&[&old, &new, &newest])).unwrap();
    assert!(sentence(&rolled).contains("from now on"));
    assert_eq!(trusted(&path), newest.der);
    assert_eq!(read_fleet_ca(&path).unwrap().linked().count(), 2);
}

#[test]
fn what_is_not_linked_is_not_followed() {
    let [old, new, stranger] = [(); 3].map(|()| Ca::new());
    let (folder, path) = trusting(&old);
    let mut forged = answer(&[&old, &new]);
    forged["fleet_ca"] = B64.encode(&stranger.der).into();
    for told in [
        answer(&[&stranger]),
        answer(&[&stranger, &new]),
        forged,
        json!({}),
        json!({ "fleet_ca": "?", "former": [] }),
    ] {
        assert!(roll(&path, &told).is_err(), "{told}");
        assert_eq!(trusted(&path), old.der);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    // Nor is there a way back.
    roll(&path, &answer(&[&old, &new])).unwrap();
    assert!(roll(&path, &answer(&[&old])).is_err());
    assert_eq!(trusted(&path), new.der);
}

#[test]
fn links_that_are_none_are_told_and_those_of_another_fleet_count_for_nothing() {
    let [old, new, other] = [(); 3].map(|()| Ca::new());
    let (folder, path) = trusting(&old);
    roll(&path, &answer(&[&old, &new])).unwrap();
    // A fleet that was begun anew, in the same folder.
    fs::write(&path, pem(&other.der)).unwrap();
    assert_eq!(read_fleet_ca(&path).unwrap().linked().count(), 0);
    for damaged in [String::new(), pem(&old.der) + &pem(&new.der)] {
        fs::write(folder.path().join(LINKS), damaged).unwrap();
        let refused = read_fleet_ca(&path).unwrap_err().to_string();
        assert!(refused.contains("roll-fleet-ca"), "{refused}");
    }
}
