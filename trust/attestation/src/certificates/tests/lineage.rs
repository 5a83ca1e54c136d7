//! CAs of one fleet, one after the other.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, SanType,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::fleet::{Fleet, NOW, ca_params, issue_card, p256, signed};
use crate::certificates::{
    ChainError, FleetCa, FleetCaError, FormerFleetCa, Lineage, LineageError, LinkedCa, Usage,
    verify_chain,
};

/// Fleets of one lineage, the oldest first.
pub(crate) struct Line {
    pub(crate) fleets: Vec<Fleet>,
    pub(crate) lineage: Lineage,
}

/// A cross-certificate for the next CA ("new with old"), right but for what `spoil` does to it.
fn forward(new: &Fleet, old: &Fleet, spoil: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = ca_params();
    params.use_authority_key_identifier_extension = true;
    spoil(&mut params);
    signed(&params, new.ca.key(), &old.ca)
}

/// A cross-certificate for the former CA ("old with new").
fn backward(old: &Fleet, new: &Fleet, spoil: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    forward(old, new, |params| {
        params.extended_key_usages = believed();
        spoil(params);
    })
}

fn believed() -> Vec<ExtendedKeyUsagePurpose> {
    let believed = Usage::of_former_ca().into_iter();
    believed
        .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
        .collect()
}

fn former(old: &Fleet, new: &Fleet) -> FormerFleetCa {
    FormerFleetCa {
        certificate: old.ca.der().to_vec().into(),
        new_with_old: forward(new, old, |_| ()).into(),
        old_with_new: backward(old, new, |_| ()).into(),
    }
}

impl Line {
    pub(crate) fn new(cas: usize) -> Self {
        let fleets: Vec<_> = (0..cas).map(|_| Fleet::new()).collect();
        let lineage = lineage(&fleets.iter().collect::<Vec<_>>());
        Self { fleets, lineage }
    }

    fn pinned(&self, at: usize) -> FleetCa {
        let pinned = self.fleets[at].anchor();
        pinned.with_lineage(&self.lineage).unwrap()
    }
}

fn lineage(fleets: &[&Fleet]) -> Lineage {
    Lineage {
        present: fleets.last().unwrap().ca.der().to_vec().into(),
        former: fleets
            .windows(2)
            .map(|two| former(two[0], two[1]))
            .collect(),
    }
}

fn refused(pinned: &Fleet, lineage: &Lineage) -> LineageError {
    pinned.anchor().with_lineage(lineage).unwrap_err()
}

fn verified(chain: &[Vec<u8>], ca: &FleetCa, usage: Usage) -> Result<(), ChainError> {
    verify_chain(chain, ca, NOW, usage).map(|_| ())
}

#[test]
fn from_each_ca_there_is_a_way_to_each_other() {
    let line = Line::new(1 + Lineage::MAX_FORMER);
    for (at, pinned) in line.fleets.iter().enumerate() {
        let ca = line.pinned(at);
        assert_eq!(
            ca.sha256(),
            pinned.anchor().sha256(),
            "what is pinned changed"
        );
        for (of, issuer) in line.fleets.iter().enumerate() {
            let name = hex::encode(issuer.anchor().sha256());
            assert_eq!(ca.named(&name, NOW), Some(&issuer.ca.der()[..]));
            for usage in Usage::ALL {
                let chain = issuer.chain(usage);
                // Servers are those of the pinned CA, or of a later one.
                let outdated = usage == Usage::TlsServer && of < at;
                let expected = if outdated {
                    Err(ChainError::ForeignCa)
                } else {
                    Ok(())
                };
                assert_eq!(verified(&chain, &ca, usage), expected, "{usage:?}");
                let alone = verified(&chain, &ca.alone(), usage);
                let own = std::ptr::eq(issuer, pinned);
                assert_eq!(alone.is_ok(), own, "{usage:?}: {alone:?}");
            }
        }
        let stranger = Fleet::new();
        for usage in Usage::ALL {
            let outcome = verified(&stranger.chain(usage), &ca, usage);
            assert_eq!(outcome, Err(ChainError::ForeignCa), "{usage:?}");
        }
        assert_eq!(
            ca.named(&hex::encode(stranger.anchor().sha256()), NOW),
            None
        );
    }
}

#[test]
fn who_is_rolled_pins_the_present_ca() {
    let line = Line::new(3);
    for fleet in &line.fleets {
        let rolled = fleet.anchor().rolled(&line.lineage, NOW).unwrap();
        assert_eq!(rolled.sha256(), line.fleets[2].anchor().sha256());
        let chain = line.fleets[0].chain(Usage::Operator);
        assert_eq!(verified(&chain, &rolled, Usage::Operator), Ok(()));
    }
    let alone = Lineage::of(line.fleets[2].ca.der().to_vec());
    let same = line.fleets[2].anchor().rolled(&alone, NOW).unwrap();
    let chain = line.fleets[0].chain(Usage::Operator);
    let outcome = verified(&chain, &same, Usage::Operator);
    assert_eq!(outcome, Err(ChainError::ForeignCa));
}

#[test]
fn what_is_kept_is_followed_once() {
    let line = Line::new(2);
    let [old, new] = [0, 1].map(|at| line.fleets[at].anchor());
    let alone = LinkedCa::alone(&old);
    let kept = LinkedCa::new(&old, line.lineage.clone()).unwrap();
    for pinned in [alone, kept] {
        let rolled = pinned.rolled(&line.lineage, NOW).unwrap().unwrap();
        assert_eq!(rolled.ca().sha256(), new.sha256());
        assert!(rolled.rolled(&line.lineage, NOW).unwrap().is_none());
        let other = Lineage::of(new.der().to_vec());
        assert!(rolled.rolled(&other, NOW).is_err());
    }
}

#[test]
fn nobody_is_rolled_back() {
    let line = Line::new(3);
    let newest = &line.fleets[2];
    let older = lineage(&[&line.fleets[0], &line.fleets[1]]);
    assert_eq!(
        newest.anchor().rolled(&older, NOW).unwrap_err(),
        LineageError::Foreign(hex::encode(newest.anchor().sha256()))
    );
}

#[test]
fn nobody_forgets_a_former_ca_of_the_same_present_one() {
    let line = Line::new(3);
    let [old, mid, new] = [0, 1, 2].map(|at| &line.fleets[at]);
    let known = new.anchor().rolled(&line.lineage, NOW).unwrap();
    for fewer in [&[new][..], &[mid, new]] {
        let refused = known.rolled(&lineage(fewer), NOW).unwrap_err();
        assert!(matches!(refused, LineageError::Missing(_)), "{refused}");
    }
    let beside = Fleet::new();
    let as_many = known.rolled(&lineage(&[&beside, mid, new]), NOW);
    let name = hex::encode(old.anchor().sha256());
    assert_eq!(as_many.unwrap_err(), LineageError::Missing(name));
    // More are learnt.
    let fewer = new.anchor().rolled(&lineage(&[mid, new]), NOW).unwrap();
    assert!(fewer.rolled(&line.lineage, NOW).is_ok());
}

/// Of the former ones that are known.
#[test]
fn at_a_rotation_the_oldest_gives_way_and_nobody_else() {
    let line = Line::new(2 + Lineage::MAX_FORMER);
    let cas: Vec<_> = line.fleets.iter().collect();
    let missing = |at: usize| LineageError::Missing(hex::encode(cas[at].anchor().sha256()));
    let roll = |known: &[&Fleet], told: &[&Fleet]| {
        let present = known.last().unwrap().anchor();
        let known = present.with_lineage(&lineage(known)).unwrap();
        known.rolled(&lineage(told), NOW).map(|_| ())
    };
    assert_eq!(roll(&cas[..3], &cas[..4]), Ok(()));
    // There is room for all of them.
    assert_eq!(roll(&cas[..3], &cas[1..4]), Err(missing(0)));
    assert_eq!(roll(&cas[..3], &cas[2..4]), Err(missing(1)));
    // There is not.
    assert_eq!(roll(&cas[..5], &cas[1..]), Ok(()));
    assert_eq!(roll(&cas[..4], &cas[1..]), Ok(()));
    assert_eq!(roll(&cas[..5], &cas[2..]), Err(missing(1)));
    // In somebody's place.
    let beside = Fleet::new();
    let told = [&[&beside], &cas[2..]].concat();
    assert_eq!(roll(&cas[..5], &told), Err(missing(1)));
    // Nor one that is known to have come later.
    let known = cas[0].anchor().with_lineage(&lineage(&cas[..3])).unwrap();
    let behind = known.rolled(&lineage(&cas[..2]), NOW).unwrap_err();
    assert_eq!(behind, missing(2));
}

/// A former CA's key in somebody else's hands leads nobody on who pins a newer one; back it leads for as long as it counts itself.
#[test]
fn a_former_ca_leads_to_nobody_for_longer_than_itself() {
    let line = Line::new(2);
    let evil = Fleet::new();
    let [old, new] = [&line.fleets[0], &line.fleets[1]];
    // All that the former CA's key can sign.
    let beside = lineage(&[old, &evil]);
    assert!(matches!(refused(new, &beside), LineageError::Foreign(_)));
    let mut beyond = lineage(&[old, new, &evil]);
    beyond.former[1].new_with_old = forward(&evil, old, |_| ()).into();
    assert_eq!(refused(new, &beyond), LineageError::NotLinked);
    let mut before = lineage(&[&evil, old, new]);
    before.former[0].new_with_old = forward(old, &evil, |_| ()).into();
    // As good as the former CA itself, and as long as that is.
    let ca = new.anchor().with_lineage(&before).unwrap();
    assert_eq!(
        verified(&evil.chain(Usage::Token), &ca, Usage::Token),
        Ok(())
    );
    before.former[1].old_with_new = backward(old, new, ended).into();
    let ca = new.anchor().with_lineage(&before).unwrap();
    let outcome = verified(&evil.chain(Usage::Token), &ca, Usage::Token);
    assert_eq!(outcome, Err(ChainError::Expired));
}

fn ended(params: &mut CertificateParams) {
    params.not_after = date_time_ymd(2026, 5, 1);
}

fn to_come(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2026, 7, 1);
}

#[test]
fn a_link_holds_in_its_time() {
    type Spoil = fn(&mut CertificateParams);
    for (spoil, why) in [
        (ended as Spoil, ChainError::Expired),
        (to_come as Spoil, ChainError::NotYetValid),
    ] {
        let mut line = Line::new(3);
        let [oldest, old, new] = [0, 1, 2].map(|at| line.fleets[at].chain(Usage::Token));
        line.lineage.former[1].new_with_old =
            forward(&line.fleets[2], &line.fleets[1], spoil).into();
        line.lineage.former[1].old_with_new =
            backward(&line.fleets[1], &line.fleets[2], spoil).into();
        for at in [0, 1] {
            let ca = line.pinned(at);
            assert_eq!(verified(&oldest, &ca, Usage::Token), Ok(()));
            assert_eq!(verified(&old, &ca, Usage::Token), Ok(()));
            assert_eq!(verified(&new, &ca, Usage::Token), Err(why.clone()));
            let rolled = line.fleets[at].anchor().rolled(&line.lineage, NOW);
            assert_eq!(rolled.unwrap_err(), LineageError::Time(why.clone()));
            let name = hex::encode(line.fleets[2].anchor().sha256());
            assert_eq!(ca.named(&name, NOW), None);
        }
        let ca = line.pinned(2);
        assert_eq!(verified(&new, &ca, Usage::Token), Ok(()));
        assert_eq!(verified(&old, &ca, Usage::Token), Err(why.clone()));
        // The way leads through the link that has ended, though its own one has not. When that began is its own matter.
        let through = match why {
            ChainError::NotYetValid => Ok(()),
            ended => Err(ended),
        };
        assert_eq!(verified(&oldest, &ca, Usage::Token), through);
    }
}

/// Each CA is younger than what is verified of the one before: as of then, it counts.
#[test]
fn what_was_certified_before_a_rotation_is_verified_as_of_then() {
    let since = |month: u8| {
        let mut params = ca_params();
        params.not_before = date_time_ymd(2026, month, 1);
        Fleet::of(params)
    };
    let [old, mid, new] = [Fleet::new(), since(7), since(8)];
    let mut lineage = lineage(&[&old, &mid, &new]);
    let begin = |month: u8| {
        move |params: &mut CertificateParams| params.not_before = date_time_ymd(2026, month, 1)
    };
    lineage.former[0].new_with_old = forward(&mid, &old, begin(7)).into();
    lineage.former[1].new_with_old = forward(&new, &mid, begin(8)).into();
    lineage.former[1].old_with_new = backward(&mid, &new, begin(7)).into();
    let october = NOW + 120 * 86_400;
    let rolled = old.anchor().rolled(&lineage, october).unwrap();
    assert_eq!(rolled.sha256(), new.anchor().sha256());
    let at = |fleet: &Fleet, at: u64| {
        let chain = fleet.chain(Usage::Operator);
        verify_chain(&chain, &rolled, at, Usage::Operator).map(|_| ())
    };
    assert_eq!(at(&old, NOW), Ok(()));
    let named = hex::encode(old.anchor().sha256());
    assert!(rolled.named(&named, NOW).is_some());
    // By one that there was not: whatever its leaf says.
    assert_eq!(at(&mid, NOW), Err(ChainError::NotYetValid));
    assert_eq!(at(&new, NOW), Err(ChainError::NotYetValid));
    for fleet in [&old, &mid, &new] {
        assert_eq!(at(fleet, october), Ok(()));
    }
    // Who pins the former one: not by the newer one before there was one.
    let pinned = old.anchor().with_lineage(&lineage).unwrap();
    let chain = new.chain(Usage::Operator);
    let outcome = verify_chain(&chain, &pinned, NOW, Usage::Operator);
    assert_eq!(outcome.unwrap_err(), ChainError::NotYetValid);
}

/// Whatever it leads to: its own end is that of all.
#[test]
fn nothing_is_verified_after_the_end_of_what_is_pinned() {
    let mut params = ca_params();
    params.not_after = date_time_ymd(2026, 5, 1);
    let [old, new] = [Fleet::new(), Fleet::of(params)];
    let ca = new.anchor().with_lineage(&lineage(&[&old, &new])).unwrap();
    let outcome = verified(&old.chain(Usage::Token), &ca, Usage::Token);
    assert_eq!(outcome, Err(ChainError::Expired));
}

#[test]
fn links_that_link_something_else_are_refused() {
    let line = Line::new(2);
    let [old, new] = [&line.fleets[0], &line.fleets[1]];
    let stranger = Fleet::new();
    let other_name = |params: &mut CertificateParams| {
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, "another fleet");
        params.distinguished_name = name;
    };
    let of_p256 = signed(&ca_params(), &p256(), &old.ca);
    for forward in [
        // All have the same name: only the signature tells.
        forward(new, &stranger, |_| ()),
        forward(&stranger, old, |_| ()),
        forward(new, old, other_name),
        old.ca.der().to_vec(),
        new.ca.der().to_vec(),
        backward(old, new, |_| ()),
        of_p256,
    ] {
        let mut spoilt = line.lineage.clone();
        spoilt.former[0].new_with_old = forward.into();
        for pinned in [old, new] {
            assert_eq!(refused(pinned, &spoilt), LineageError::NotLinked);
        }
    }
    let mut swapped = line.lineage.clone();
    let former = &mut swapped.former[0];
    std::mem::swap(&mut former.new_with_old, &mut former.old_with_new);
    assert_eq!(refused(old, &swapped), LineageError::NotLinked);
}

#[test]
fn links_say_ca_and_nothing_else() {
    let line = Line::new(2);
    let [old, new] = [&line.fleets[0], &line.fleets[1]];
    let spoils: [fn(&mut CertificateParams); 6] = [
        |p| p.is_ca = IsCa::NoCa,
        |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)),
        |p| p.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature],
        |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        |p| p.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())],
        |p| {
            let name = rcgen::GeneralSubtree::DnsName("example".into());
            p.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: vec![name],
                excluded_subtrees: vec![],
            });
        },
    ];
    for spoil in spoils {
        let mut spoilt = line.lineage.clone();
        spoilt.former[0].old_with_new = backward(old, new, spoil).into();
        assert_eq!(refused(new, &spoilt), LineageError::NotACa);
        let mut spoilt = line.lineage.clone();
        spoilt.former[0].new_with_old = forward(new, old, spoil).into();
        assert_eq!(refused(new, &spoilt), LineageError::NotACa);
    }
}

/// Whoever builds paths of what is shown to them goes by these.
#[test]
fn a_link_back_is_good_for_all_but_servers_and_a_link_on_for_all() {
    let line = Line::new(2);
    let [old, new] = [&line.fleets[0], &line.fleets[1]];
    let any = ExtendedKeyUsagePurpose::Any;
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    let more = |one: &ExtendedKeyUsagePurpose| [believed(), vec![one.clone()]].concat();
    let fewer = believed().split_off(1);
    for purposes in [Vec::new(), more(&server), more(&any), vec![any], fewer] {
        let mut spoilt = line.lineage.clone();
        let spoil = |params: &mut CertificateParams| params.extended_key_usages = purposes;
        spoilt.former[0].old_with_new = backward(old, new, spoil).into();
        assert_eq!(refused(old, &spoilt), LineageError::NotACa);
    }
    let mut spoilt = line.lineage.clone();
    spoilt.former[0].new_with_old =
        forward(new, old, |p| p.extended_key_usages = believed()).into();
    assert_eq!(refused(old, &spoilt), LineageError::NotACa);
    // In whichever order.
    let mut turned = line.lineage.clone();
    let turn = |params: &mut CertificateParams| params.extended_key_usages.reverse();
    turned.former[0].old_with_new = backward(old, new, turn).into();
    assert!(old.anchor().with_lineage(&turned).is_ok());
}

#[test]
fn lines_are_short_and_do_not_come_back() {
    let line = Line::new(2 + Lineage::MAX_FORMER);
    let long = 1 + Lineage::MAX_FORMER;
    let outcome = refused(&line.fleets[0], &line.lineage);
    assert_eq!(outcome, LineageError::TooLong(long));
    let [a, b] = [&line.fleets[0], &line.fleets[1]];
    for looped in [&[a, b, a][..], &[a, a], &[a, b, a, b, a]] {
        assert_eq!(refused(a, &lineage(looped)), LineageError::Twice);
    }
    let stranger = Fleet::new();
    let foreign = LineageError::Foreign(hex::encode(stranger.anchor().sha256()));
    assert_eq!(refused(&stranger, &lineage(&[a, b])), foreign);
}

#[test]
fn cas_that_are_none_are_refused() {
    let line = Line::new(2);
    let of_p256 = ca_params().self_signed(&p256()).unwrap().der().to_vec();
    let leaf = line.fleets[1].chain(Usage::Token).remove(0);
    for none in [of_p256, leaf] {
        let mut spoilt = line.lineage.clone();
        spoilt.present = none.into();
        let outcome = refused(&line.fleets[0], &spoilt);
        let expected = LineageError::FleetCa(FleetCaError::NotSelfSigned);
        assert_eq!(outcome, expected);
    }
    // A card is a CA, too.
    let (card, _) = issue_card(&line.fleets[0].ca, |_| ());
    let mut spoilt = line.lineage;
    spoilt.former[0].certificate = card.der().to_vec().into();
    assert!(matches!(
        refused(&line.fleets[1], &spoilt),
        LineageError::FleetCa(_)
    ));
}

/// The same key under another certificate is not what was pinned.
#[test]
fn what_is_pinned_is_the_certificate() {
    let line = Line::new(2);
    let key = crate::csr::EphemeralKey::from_pkcs8_der(line.fleets[0].ca.key().pkcs8_der());
    let mut params = ca_params();
    params.not_after = date_time_ymd(2040, 1, 1);
    let longer = CertifiedIssuer::self_signed(params, key.unwrap()).unwrap();
    let longer = FleetCa::from_der(longer.der()).unwrap();
    let outcome = longer.with_lineage(&line.lineage);
    assert!(matches!(outcome, Err(LineageError::Foreign(_))));
}

#[test]
fn any_flipped_bit_of_a_link_is_refused() {
    let line = Line::new(2);
    let length = line.lineage.former[0].new_with_old.len();
    for byte in 0..length {
        let mut flipped = line.lineage.clone();
        flipped.former[0].new_with_old[byte] ^= 1 << (byte % 8);
        let outcome = line.fleets[0].anchor().with_lineage(&flipped);
        assert!(outcome.is_err(), "byte {byte} went unnoticed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is put in the place of whatever is in it: no panic, and no other CA than those of the line is led to.
    #[test]
    fn a_mangled_lineage_leads_nowhere_else(
        member in 0usize..4,
        at in any::<prop::sample::Index>(),
        cut in 0usize..6,
        patch in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        static LINE: std::sync::LazyLock<Line> = std::sync::LazyLock::new(|| Line::new(2));
        let mut mangled = LINE.lineage.clone();
        let former = &mut mangled.former[0];
        let bytes = match member {
            0 => &mut former.certificate,
            1 => &mut former.new_with_old,
            2 => &mut former.old_with_new,
            _ => &mut mangled.present,
        };
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, patch);
        let ca = LINE.fleets[0].anchor();
        let changed = mangled != LINE.lineage;
        prop_assert_eq!(ca.with_lineage(&mangled).is_err(), changed);
        prop_assert_eq!(ca.rolled(&mangled, NOW).is_err(), changed);
    }
}

#[test]
fn a_server_shows_the_newest_link_first() {
    let line = Line::new(3);
    let links = [1, 0].map(|at| line.lineage.former[at].new_with_old.to_vec());
    assert_eq!(line.lineage.new_with_old(), links);
}

#[test]
fn a_ca_is_found_by_its_name() {
    let line = Line::new(3);
    for fleet in &line.fleets {
        let name = hex::encode(fleet.anchor().sha256());
        assert_eq!(line.lineage.named(&name), Some(&fleet.ca.der()[..]));
    }
    let stranger = hex::encode(Fleet::new().anchor().sha256());
    assert_eq!(line.lineage.named(&stranger), None);
}

#[test]
fn in_json_certificates_are_base64url() {
    let line = Line::new(3);
    let json = serde_json::to_value(&line.lineage).unwrap();
    let text = |der: &[u8]| URL_SAFE_NO_PAD.encode(der);
    assert_eq!(json["fleet_ca"], text(&line.lineage.present));
    let [former, _] = [0, 1].map(|at| &json["former"][at]);
    let expected = &line.lineage.former[0];
    assert_eq!(former["fleet_ca"], text(&expected.certificate));
    assert_eq!(former["new_with_old"], text(&expected.new_with_old));
    assert_eq!(former["old_with_new"], text(&expected.old_with_new));
    assert_eq!(
        serde_json::from_value::<Lineage>(json).unwrap(),
        line.lineage
    );
    let read = |text: &str| serde_json::from_str::<Lineage>(text);
    assert!(read(r#"{"fleet_ca": "AAAA", "former": []}"#).is_ok());
    for none in [
        r#"{"fleet_ca": "?", "former": []}"#,
        r#"{"fleet_ca": "AAAA=", "former": []}"#,
        r#"{"fleet_ca": "AAAA"}"#,
        r#"{"fleet_ca": "AAAA", "former": [{"fleet_ca": "AAAA"}]}"#,
    ] {
        assert!(read(none).is_err(), "{none}");
    }
}

/// Whoever pins the present CA, and builds a path of what a peer shows: a former CA's key is no verifier's, whatever it signs.
#[test]
fn a_path_of_what_a_server_shows_leads_by_no_former_ca() {
    let line = Line::new(2);
    let [old, new] = [&line.fleets[0], &line.fleets[1]];
    let evil = Fleet::new();
    let former = &line.lineage.former[0];
    let [forward_link, back] = [&former.new_with_old, &former.old_with_new].map(|der| der.to_vec());
    let onward = forward(&evil, old, |_| ());
    let shown = |pinned: &Fleet, leaf: &[u8], shown: &[&Vec<u8>], usage: KeyUsage| {
        let leaf = CertificateDer::from(leaf);
        let root = CertificateDer::from(pinned.ca.der().to_vec());
        let roots = [webpki::anchor_from_trusted_cert(&root).unwrap()];
        let shown: Vec<_> = (shown.iter())
            .map(|der| CertificateDer::from(der.to_vec()))
            .collect();
        let leaf = EndEntityCert::try_from(&leaf).unwrap();
        let path = leaf.verify_for_usage(
            &[webpki::aws_lc_rs::ECDSA_P384_SHA384],
            &roots,
            &shown,
            UnixTime::since_unix_epoch(Duration::from_secs(NOW)),
            usage,
            None,
            None,
        );
        path.map(|_| ()).is_ok()
    };
    let server = |fleet: &Fleet| fleet.chain(Usage::TlsServer).remove(0);
    let (auth, client) = (KeyUsage::server_auth, KeyUsage::client_auth);
    assert!(!shown(new, &server(old), &[&back], auth()));
    assert!(!shown(new, &server(&evil), &[&onward, &back], auth()));
    // Who has not followed yet does so by the link.
    assert!(shown(old, &server(new), &[&forward_link], auth()));
    // Operators whom the former CA certified are accepted still.
    let operator = old.chain(Usage::Operator).remove(0);
    assert!(shown(new, &operator, &[&back], client()));
}
