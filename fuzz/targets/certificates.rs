//! Chains of certificates, and what links a fleet's CAs. The first byte selects the usage, or links, and what the rest is: a chain or
//! links in pieces, or the contents of a leaf or link that the right issuer signed.
#![no_main]

use std::sync::LazyLock;

use bartizan_attestation::certificates::{
    FleetCa, FormerFleetCa, Usage, VerifiedCertificate, verify_chain,
};
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
    let hostile = selector & 0x80 != 0;
    if selector & LINKS == LINKS {
        return links(rest, hostile);
    }
    let index = usize::from(selector & 0x7f) % Usage::ALL.len();
    let usage = Usage::ALL[index];
    if !hostile {
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

/// The selector's bits where the rest is links.
const LINKS: u8 = 0x70;

/// Links in pieces in the place of the right ones: to the next CA, back from it, and then whole former CAs before these; or the
/// contents of a link that the former CA signed.
fn links(rest: &[u8], hostile: bool) {
    let mut lineage = FLEET.lineage.clone();
    let own = lineage.former.first_mut().expect("one former CA");
    if hostile {
        own.new_with_old = signed_der(rest, &FLEET.ca_key).into();
    } else {
        let mut pieces = pieces::split(rest).into_iter();
        for link in [&mut own.new_with_old, &mut own.old_with_new] {
            if let Some(piece) = pieces.next().filter(|piece| !piece.is_empty()) {
                *link = piece.into();
            }
        }
        let former: Vec<_> = pieces.collect();
        let former = former.chunks_exact(3).map(|ca| FormerFleetCa {
            certificate: ca[0].clone().into(),
            new_with_old: ca[1].clone().into(),
            old_with_new: ca[2].clone().into(),
        });
        lineage.former.splice(0..0, former);
    }
    for (pinned, other) in [(&FLEET.ca, &FLEET.next_ca), (&FLEET.next_ca, &FLEET.ca)] {
        let Ok(linked) = pinned.with_lineage(&lineage) else {
            continue;
        };
        assert_eq!(linked.sha256(), pinned.sha256(), "what is pinned changed");
        let led_to: Vec<_> = linked.linked().map(|(ca, _)| ca).collect();
        assert_eq!(led_to, [other.sha256()], "another CA is led to");
        if let Ok(rolled) = pinned.rolled(&lineage, NOW_S) {
            assert_eq!(
                rolled.sha256(),
                FLEET.next_ca.sha256(),
                "rolled to another CA"
            );
        }
    }
}

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
