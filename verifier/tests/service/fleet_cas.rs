//! The fleet CA is replaced while the verifier serves, by the real vault.

use std::path::Path;

use bartizan_attestation::certificates::{ChainError, FleetCa, Lineage, Usage, verify_chain};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_attestation::rotation::{RotationOrder, sign_rotation};
use bartizan_channel::Connector;
use bartizan_channel::https::Connection;
use bartizan_verifier::binary::Binary;
use bartizan_verifier::clock::now_s;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::process::{Verifier, connect, exchange, identity, try_connect};
use crate::real_vault::{VaultProcess, begin, certify, folder};

/// An operator's key and certificate, in the folder of the test.
struct Operator {
    key: EphemeralKey,
    chain: Vec<Vec<u8>>,
}

impl Operator {
    fn read(directory: &Path, name: &str) -> Self {
        let at = |what: &str| directory.join(format!("{name}{what}"));
        let key = std::fs::read(at(".pk8")).unwrap();
        Self {
            key: EphemeralKey::from_pkcs8_der(&key).unwrap(),
            chain: vec![CertificateDer::from_pem_file(at(".pem")).unwrap().to_vec()],
        }
    }

    fn order(&self, fleet_ca: &FleetCa, expires_at: u64) -> Value {
        let order = RotationOrder {
            version: RotationOrder::VERSION,
            fleet_ca: fleet_ca.sha256(),
            expires_at,
        };
        let order = sign_rotation(&order, &self.chain, &self.key).unwrap();
        json!({ "order": Binary::encode(&order) })
    }

    fn trusting(&self, ca: &FleetCa) -> Connector {
        let shown = identity(self.chain.clone(), &self.key);
        Connector::authenticated(move || shown.clone(), ca.der()).unwrap()
    }
}

fn binary(value: &Value) -> Vec<u8> {
    Binary::decode(value.as_str().unwrap()).unwrap()
}

fn lineage(document: Value) -> Lineage {
    serde_json::from_value(document).unwrap()
}

const ROTATE: &str = "/v1/keys/fleet-ca/rotate";

async fn rotated(connection: &mut Connection, order: Value) -> Lineage {
    let (status, answer) = exchange(connection, "POST", ROTATE, order).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let (_, shown) = exchange(connection, "GET", "/v1/fleet-ca", Value::Null)
        .await
        .unwrap();
    assert_eq!(shown, answer);
    lineage(answer)
}

async fn refused(connection: &mut Connection, order: Value) -> (u16, String) {
    let (status, answer) = exchange(connection, "POST", ROTATE, order).await.unwrap();
    (status, answer["type"].as_str().unwrap_or_default().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_ca_is_replaced_while_it_serves() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = folder(directory.path());
    let vault = VaultProcess::start(directory.path());
    let pins_old = begin(directory.path(), &configuration, "ann");
    let ann = Operator::read(directory.path(), "ann");
    let ca = CertificateDer::from_pem_file(directory.path().join("ann-fleet-ca.pem"));
    let old = FleetCa::from_der(&ca.unwrap()).unwrap();
    let verifier = Verifier::start(&configuration);
    let mut open = connect(&pins_old, verifier.address).await;

    let denied = (403, "urn:bartizan:problem:rotation-refused".to_owned());
    let late = ann.order(&old, now_s() - 1);
    assert_eq!(refused(&mut open, late).await, denied);
    let garbage = json!({ "order": "AAAA" });
    assert_eq!(refused(&mut open, garbage).await, denied);
    let mut stranger = connect(&Connector::anonymous(old.der()).unwrap(), verifier.address).await;
    let order = ann.order(&old, now_s() + 60);
    assert_eq!(refused(&mut stranger, order.clone()).await.0, 401);

    // What was open goes on.
    let lineage = rotated(&mut open, order.clone()).await;
    let new = old.rolled(&lineage, now_s()).unwrap();
    assert_eq!(refused(&mut open, order).await, denied);

    // Who pins the former one still knows the verifier, and so does who follows.
    for trusting in [&pins_old, &ann.trusting(&new)] {
        let mut connection = connect(trusting, verifier.address).await;
        let (status, keys) = exchange(&mut connection, "GET", "/v1/keys", Value::Null)
            .await
            .unwrap();
        assert_eq!(status, 200, "{keys}");
    }
    let stranger = begin_elsewhere();
    assert!(
        try_connect(&ann.trusting(&stranger), verifier.address)
            .await
            .is_err()
    );

    // Results are signed by a key of the new one's from now on, those of the former key are good still.
    let path = "/v1/token-certificates";
    let (_, published) = exchange(&mut open, "GET", path, Value::Null).await.unwrap();
    let chains = published["token_certificates"].as_array().unwrap();
    let chains: Vec<_> = chains.iter().map(|chain| vec![binary(&chain[0])]).collect();
    let now = now_s();
    let [newest, former] = [&chains[0], &chains[1]];
    assert!(verify_chain(newest, &new.alone(), now, Usage::Token).is_ok());
    let outcome = verify_chain(newest, &old, now, Usage::Token);
    assert_eq!(outcome, Err(ChainError::ForeignCa));
    let led = old.with_lineage(&lineage).unwrap();
    assert!(verify_chain(newest, &led, now, Usage::Token).is_ok());
    assert!(verify_chain(former, &new, now, Usage::Token).is_ok());

    let path = "/v1/keys/history";
    let (_, history) = exchange(&mut open, "GET", path, Value::Null).await.unwrap();
    let key = hex::encode(old.public_key().sha256());
    let told: Vec<_> = (history["events"].as_array().unwrap().iter())
        .filter(|event| event["id"] == key.as_str())
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    let expected = ["made", "certified", "superseded", "certified", "destroyed"];
    assert_eq!(told, expected);

    // After a restart of both, and once more: by an operator of the present one's, whatever a former one certified.
    verifier.kill();
    drop(vault);
    let _vault = VaultProcess::start(directory.path());
    let verifier = Verifier::start(&configuration);
    let mut connection = connect(&pins_old, verifier.address).await;
    let order = ann.order(&new, now_s() + 60);
    assert_eq!(refused(&mut connection, order).await, denied);
    certify(directory.path(), &configuration, "ann");
    let anew = Operator::read(directory.path(), "ann");
    let order = anew.order(&new, now_s() + 60);
    let twice = rotated(&mut connection, order).await;
    assert_eq!(twice.former.len(), 2);
    assert_eq!(twice.former[0], lineage.former[0]);
    let newest = old.rolled(&twice, now_s()).unwrap();
    for ca in [&old, &new, &newest] {
        connect(&ann.trusting(ca), verifier.address).await;
    }
}

/// Another fleet's CA.
fn begin_elsewhere() -> FleetCa {
    crate::fleet::Authority::fleet().ca()
}
