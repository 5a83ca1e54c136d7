use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose,
};

use super::*;
use crate::certificates::tcb_info::{self, TcbInfo};
use crate::csr::EphemeralKey;
use crate::keys::VaultKind;

/// A fleet CA and a card of it.
struct Fleet {
    ca: FleetCa,
    card: EphemeralKey,
    chain: Vec<Vec<u8>>,
}

impl Fleet {
    fn new() -> Self {
        let (ca_key, card) = (
            EphemeralKey::generate().unwrap(),
            EphemeralKey::generate().unwrap(),
        );
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&ca_key).unwrap();
        let ca = FleetCa::from_der(ca.der()).unwrap();
        let issuer = Issuer::new(params, ca_key);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let usages = Usage::Card.extended_key_usages();
        params.extended_key_usages = usages
            .into_iter()
            .map(|arcs| ExtendedKeyUsagePurpose::Other(arcs.to_vec()))
            .collect();
        let id = CardId(card.public_key().sha256());
        let uri = crate::certificates::Subject::Host(id).uri().unwrap();
        params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
        let info = TcbInfo {
            vault: VaultKind::Software,
            launch_measurement: None,
            phases: Vec::new(),
        };
        params.custom_extensions = if Usage::Card.names_vault() {
            vec![CustomExtension::from_oid_content(
                tcb_info::OID,
                info.encode().unwrap(),
            )]
        } else {
            Vec::new()
        };
        params.use_authority_key_identifier_extension = true;
        let chain = vec![params.signed_by(&card, &issuer).unwrap().der().to_vec()];
        Self { ca, card, chain }
    }

    fn id(&self) -> CardId {
        CardId(self.card.public_key().sha256())
    }
}

fn statement(card: CardId) -> Statement {
    Statement {
        version: Statement::VERSION,
        card,
        counter: 7,
        mark: [1; 32],
        random: [2; 32],
        machine: Machine::new("rack1-07".into(), [3; 16]).unwrap(),
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[test]
fn a_cards_own_statement_is_taken() {
    let fleet = Fleet::new();
    let made = statement(fleet.id());
    let signed = made.sign(&fleet.chain, &fleet.card).unwrap();
    let verified = Statement::verify(&signed, fleet.id(), &fleet.ca, now()).unwrap();
    assert_eq!(verified, made);
}

#[test]
fn others_statements_are_refused() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let made = statement(fleet.id());
    let verify = |signed: &[u8]| Statement::verify(signed, fleet.id(), &fleet.ca, now());
    // Of another fleet, by another key, of another card.
    let foreign = made.sign(&other.chain, &other.card).unwrap();
    assert!(matches!(verify(&foreign), Err(StatementError::Chain(_))));
    let unsigned = made.sign(&fleet.chain, &other.card).unwrap();
    assert!(matches!(verify(&unsigned), Err(StatementError::Message(_))));
    let of_other = statement(other.id()).sign(&fleet.chain, &fleet.card);
    let refused = verify(&of_other.unwrap());
    assert!(matches!(refused, Err(StatementError::OtherCard { .. })));
    let signed = made.sign(&fleet.chain, &fleet.card).unwrap();
    let presented = Statement::verify(&signed, other.id(), &fleet.ca, now());
    assert!(matches!(presented, Err(StatementError::OtherCard { .. })));
    // Another message of the same key, with the same payload.
    let renewal = sign1(
        MessageType::RenewalRequest,
        &made.encode(),
        &fleet.chain,
        &fleet.card,
    );
    assert!(matches!(
        verify(&renewal.unwrap()),
        Err(StatementError::Message(CoseError::WrongType { .. }))
    ));
    let mut altered = signed;
    *altered.last_mut().unwrap() ^= 1;
    assert!(verify(&altered).is_err());
}

#[test]
fn what_is_no_statement_is_refused() {
    let good = statement(CardId([9; 32]));
    let read = |statement: &Statement| Statement::decode(&statement.encode());
    assert_eq!(read(&good).unwrap(), good);
    for name in ["", "two words", "a/b", "caf\u{e9}", &"a".repeat(254)] {
        let machine = Machine {
            name: name.into(),
            boot: [0; 16],
        };
        let named = Statement {
            machine,
            ..good.clone()
        };
        assert!(read(&named).is_err(), "{name}");
        assert!(Machine::new(name.into(), [0; 16]).is_err(), "{name}");
    }
    let first = Statement {
        counter: 0,
        ..good.clone()
    };
    assert!(matches!(read(&first), Err(StatementError::Counter)));
    let newer = Statement { version: 2, ..good };
    assert!(matches!(read(&newer), Err(StatementError::Version(2))));
    assert!(Statement::decode(&[0; 513]).is_err());
}

proptest! {
    #[test]
    fn statements_survive_their_encoding(
        counter in 1..=u64::MAX,
        mark: [u8; 32],
        random: [u8; 32],
        card: [u8; 32],
        boot: [u8; 16],
        name in "[A-Za-z0-9._-]{1,253}",
    ) {
        let statement = Statement {
            version: Statement::VERSION,
            card: CardId(card),
            counter,
            mark,
            random,
            machine: Machine::new(name, boot).unwrap(),
        };
        let bytes = statement.encode();
        prop_assert!(bytes.len() <= Statement::MAX_LEN);
        prop_assert_eq!(Statement::decode(&bytes).unwrap(), statement);
    }

    #[test]
    fn any_bytes_are_read_in_one_way(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(statement) = Statement::decode(&bytes) {
            prop_assert_eq!(statement.encode(), bytes);
        }
    }
}
