use proptest::prelude::*;

use super::*;

const URN: &str = "urn:bartizan:guest:0101010101010101010101010101010101010101010101010101010101010101:02020202-0202-0202-0202-020202020202:7";

#[test]
fn a_guest_is_written_as_documented() {
    let guest = GuestIdentity {
        card: CardId([1; 32]),
        vm: [2; 16],
        boot: 7,
    };
    assert_eq!(guest.to_string(), URN);
    assert_eq!(URN.parse(), Ok(guest));
}

#[test]
fn one_identity_has_one_spelling() {
    for other in [
        URN.replace(":7", ":07"),
        URN.replace(":7", ":+7"),
        URN.replace(":7", ":7:"),
        URN.replace(":7", ":"),
        URN.replace(":7", ":18446744073709551616"),
        URN.replace(":7", ":0"),
        URN.replace("0202-", "0202"),
        URN.replace("urn:", "URN:"),
        URN.replacen("01", "0A", 1),
        URN.replacen("01", "", 1),
        format!(" {URN}"),
        format!("{URN}\n"),
        String::new(),
    ] {
        assert!(other.parse::<GuestIdentity>().is_err(), "{other}");
    }
}

#[test]
fn a_card_id_is_lower_case() {
    assert!("AB".repeat(32).parse::<CardId>().is_err());
    assert_eq!("ab".repeat(32).parse(), Ok(CardId([0xab; 32])));
}

proptest! {
    #[test]
    fn urns_round_trip(card: [u8; 32], vm: [u8; 16], boot in 1u64..) {
        let guest = GuestIdentity { card: CardId(card), vm, boot };
        prop_assert_eq!(guest.to_string().parse(), Ok(guest));
        prop_assert_eq!(CardId(card).to_string().parse(), Ok(CardId(card)));
    }

    #[test]
    fn parsing_never_panics(text in "(urn:bartizan:guest:)?.{0,120}") {
        let _ = text.parse::<GuestIdentity>();
        let _ = text.parse::<CardId>();
    }
}
