//! Seeds of what a TPM shows of itself: an endorsement key and its certificate by a maker, a quote, a certified key.

use bartizan_attestation::boot::Sha384;
use bartizan_attestation::cose::Sign as _;
use bartizan_attestation::tpm::PublicArea;
use bartizan_fuzz::fleet::FLEET;
use bartizan_fuzz::tpm::signing_area;

use crate::Seed;

pub(crate) fn seeds() -> Vec<Seed> {
    let selected = |selector: u8, bytes: &[u8]| [&[selector], bytes].concat();
    let endorsement = include_bytes!("../targets/tpm/endorsement");
    let certificate = include_bytes!("../targets/tpm/certificate");
    vec![
        ("tpm", "public_area", selected(0, endorsement)),
        ("tpm", "quote", selected(1, &quote())),
        ("tpm", "certificate", selected(2, certificate)),
        ("tpm", "certified", selected(3, &certified())),
    ]
}

/// TPMS_ATTEST of PCRs 12 and 15 after its length, and TPMT_SIGNATURE.
fn quote() -> Vec<u8> {
    let mut attested = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 0, 0, 5];
    attested.extend(b"nonce");
    attested.extend([0; 25]);
    attested.extend([0, 0, 0, 1, 0, 0x0c, 3, 0, 0x90, 0, 0, 48]);
    attested.extend(Sha384::of(&[[2; 48], [3; 48]].concat()).0);
    signed(&attested)
}

/// TPMS_ATTEST of a key of the TPM's after its length, and TPMT_SIGNATURE.
fn certified() -> Vec<u8> {
    let area = signing_area(&FLEET.card_key.public_key());
    let name = PublicArea::parse(&area).expect("a key's area").name();
    let mut attested = vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x17, 0, 0, 0, 5];
    attested.extend(b"nonce");
    attested.extend([0; 25]);
    for name in [name, vec![7; 34]] {
        attested.extend([0, 34]);
        attested.extend(name);
    }
    signed(&attested)
}

fn signed(attested: &[u8]) -> Vec<u8> {
    let signed = FLEET.operator_key.sign(attested).expect("it signs");
    let mut signature = vec![0, 0x18, 0, 0x0c];
    for number in signed.chunks(48) {
        signature.extend([0, 48]);
        signature.extend(number);
    }
    let length = u16::try_from(attested.len()).expect("it is short");
    [&length.to_be_bytes(), attested, &*signature].concat()
}
