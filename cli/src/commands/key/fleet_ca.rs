//! Another fleet CA in the place of the present one.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bartizan_attestation::rotation::{RotationOrder, sign_rotation};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::json;

use crate::fleet_ca;
use crate::output::Output;
use crate::verifier::Verifier;

/// How long an order is good: it is handed in at once, and clocks differ.
const LIFETIME_S: u64 = 120;

/// Signs the order, has it followed, and follows.
pub(super) fn rotate(verifier: &Verifier, output: Output) -> Result<()> {
    let credentials = &verifier.credentials;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let order = RotationOrder {
        version: RotationOrder::VERSION,
        fleet_ca: credentials.fleet_ca()?.sha256(),
        expires_at: now_s + LIFETIME_S,
    };
    let order = sign_rotation(&order, &credentials.chain()?, &credentials.key()?)?;
    let wish = json!({ "order": B64.encode(order) });
    let told = verifier.ask("POST", "/v1/keys/fleet-ca/rotate", Some(&wish))?;
    let rolled = fleet_ca::roll(&credentials.fleet_ca_path(), &told);
    let mut rolled = rolled.context(
        "the fleet CA is replaced; have this folder follow it by `bartizan operator roll-fleet-ca`",
    )?;
    rolled["kind"] = "fleet-ca".into();
    let followed = fleet_ca::sentence(&rolled);
    let sentence = format!(
        "the fleet CA is replaced, and the former one's key destroyed; {followed}. Other operators: `bartizan operator roll-fleet-ca`"
    );
    output.result(&rolled, &sentence);
    Ok(())
}
