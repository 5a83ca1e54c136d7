//! What a TPM shows of itself: the first byte selects a public area, a quote with its signature, an endorsement certificate,
//! a certified key with its signature.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::tpm::{
    EndorsementCertificate, Makers, PublicArea, SECRET_LEN, make_credential, verify_certified,
    verify_quote,
};
use bartizan_fuzz::fleet::FLEET;
use bartizan_fuzz::tpm::signing_area;
use libfuzzer_sys::fuzz_target;

/// Within the certificate's validity, in seconds since the Unix epoch.
const NOW_S: u64 = 2_000_000_000;

static MAKERS: LazyLock<Makers> =
    LazyLock::new(|| Makers::from_pem(include_bytes!("tpm/maker.pem")).expect("a maker"));
static AREA: LazyLock<PublicArea> = LazyLock::new(|| {
    PublicArea::parse(include_bytes!("tpm/endorsement")).expect("an endorsement key")
});

fuzz_target!(|data: &[u8]| {
    let Some((selector, bytes)) = data.split_first() else {
        return;
    };
    match selector % 4 {
        0 => public_area(bytes),
        1 => quote(bytes),
        3 => certified(bytes),
        _ => {
            // Nobody but the maker signs, and this target has not its key: what is verified is the one that it has issued.
            let verified = EndorsementCertificate::verify(bytes, AREA.clone(), &MAKERS, NOW_S);
            if let Ok(verified) = verified {
                assert!(bytes.starts_with(include_bytes!("tpm/certificate")));
                assert_eq!(verified.area(), &*AREA);
            }
        }
    }
});

fn public_area(bytes: &[u8]) {
    let Ok(area) = PublicArea::parse(bytes) else {
        return;
    };
    assert!(
        area.policy_bound_signer().is_err() || area.attestation_key().is_err(),
        "one key for both"
    );
    // What signs is never what secrets are encrypted to.
    let signs = area.policy_bound_signer().is_ok() || area.attestation_key().is_ok();
    let made = make_credential(&area, &area.name(), &[7; SECRET_LEN]);
    assert!(!(signs && made.is_ok()), "a signing key decrypts");
}

/// What is attested, after its length, and the signature.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

fn certified(bytes: &[u8]) {
    let Some((attested, signature)) = split(bytes) else {
        return;
    };
    let key = FLEET.operator_key.public_key();
    let held = FLEET.card_key.public_key();
    let area = PublicArea::parse(&signing_area(&held)).expect("a key's area");
    if let Ok(certified) = verify_certified(attested, signature, &key, b"nonce", &area) {
        assert_eq!(*certified, held);
        assert!(key.verify(attested, &fixed(signature)).is_ok());
    }
}

fn quote(bytes: &[u8]) {
    let Some((attested, signature)) = split(bytes) else {
        return;
    };
    let key = FLEET.operator_key.public_key();
    let pcrs = BTreeMap::from([(12, Sha384([2; 48])), (15, Sha384([3; 48]))]);
    if verify_quote(attested, signature, &key, b"nonce", &pcrs).is_ok() {
        // Malleable as ECDSA is; what is attested is what the key has signed.
        assert!(key.verify(attested, &fixed(signature)).is_ok());
    }
}

/// `r || s` of a TPMT_SIGNATURE that was accepted.
fn fixed(signature: &[u8]) -> Vec<u8> {
    let mut rest = signature.get(4..).unwrap_or_default();
    let mut fixed = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (number, after) = after.split_at(u16::from_be_bytes(*length).into());
        fixed.extend(std::iter::repeat_n(0, 48 - number.len()));
        fixed.extend(number);
        rest = after;
    }
    fixed
}
