//! Chains of certificates. The first byte selects the usage and what the rest is: a chain in pieces, or the
//! contents of a leaf that the right issuer signed.
#![no_main]

use std::sync::LazyLock;

use bartizan_attestation::certificates::{FleetCa, Usage, VerifiedCertificate, verify_chain};
use bartizan_fuzz::fleet::{FLEET, NOW_S, signed_der};
use bartizan_fuzz::pieces;
use libfuzzer_sys::fuzz_target;

/// The fleet's own chains, in the order of the usages.
static CHAINS: LazyLock<Vec<Vec<Vec<u8>>>> =
    LazyLock::new(|| Usage::ALL.map(|usage| FLEET.chain(usage)).to_vec());

fuzz_target!(|data: &[u8]| {
    let Some((&selector, rest)) = data.split_first() else {
        return;
    };
    let index = usize::from(selector & 0x7f) % Usage::ALL.len();
    let usage = Usage::ALL[index];
    if selector & 0x80 == 0 {
        let chain = pieces::split(rest);
        if let Ok(verified) = verify_chain(&chain, &FLEET.ca, NOW_S, usage) {
            is_right(&verified, usage);
            is_of_this_fleet(&verified, &CHAINS[index]);
        }
        read_anchor(rest);
    } else {
        let mut chain = CHAINS[index].clone();
        chain[0] = signed_der(rest, FLEET.issuer(usage));
        if let Ok(verified) = verify_chain(&chain, &FLEET.ca, NOW_S, usage) {
            is_right(&verified, usage);
        }
        read_anchor(&signed_der(rest, &FLEET.ca_key));
    }
});

/// What holds of everything that is verified, even where the issuer itself is hostile.
fn is_right(verified: &VerifiedCertificate, usage: Usage) {
    assert_eq!(verified.usage, usage);
    assert!((verified.not_before..=verified.not_after).contains(&NOW_S));
    assert_eq!(verified.public_key.curve(), usage.curve());
    assert_eq!(verified.vault.is_some(), usage.names_vault());
    assert_eq!(
        verified.launch_measurement.is_some(),
        usage.carries_launch_measurement()
    );
    let named = verified.subject.card();
    assert!(
        named.is_none() || named == verified.card,
        "a key of another card"
    );
    if usage.issued_by_card() {
        assert_eq!(verified.card, Some(FLEET.guest.card), "another issuer");
    }
}

/// Only what this fleet signed is verified; ECDSA lets anybody write a signature in a second way, no more.
fn is_of_this_fleet(verified: &VerifiedCertificate, chain: &[Vec<u8>]) {
    let original = verify_chain(chain, &FLEET.ca, NOW_S, verified.usage).expect("a right chain");
    let mut changed = verified.clone();
    changed.sha256 = original.sha256;
    assert_eq!(changed, original, "a forged certificate");
}

fn read_anchor(bytes: &[u8]) {
    if let Ok(ca) = FleetCa::from_pem_or_der(bytes) {
        let again = FleetCa::from_der(ca.der()).expect("its DER is a CA's, too");
        assert_eq!(again.sha256(), ca.sha256());
        assert_eq!(again.public_key(), ca.public_key());
    }
}
