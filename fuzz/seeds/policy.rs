//! Policies, signed and not.

use bartizan_fuzz::fleet::FLEET;
use bartizan_policy::{Format, PolicySet, SCHEMA, read, sign_policy};

use crate::Seed;

const WEB: &str = include_str!("../../trust/policy/examples/web.yaml");
const HARDENING: &str = include_str!("../../trust/policy/examples/hardening.yaml");

pub(crate) fn seeds() -> Vec<Seed> {
    let web = read(WEB, Format::Yaml).unwrap();
    let json = serde_json::to_vec(&web).unwrap();
    let signed = |text: &str| {
        let public = FLEET.operator_key.public_key();
        sign_policy(text, Format::Yaml, &public, &FLEET.operator_key).unwrap()
    };
    let set = PolicySet::new([signed(WEB), signed(HARDENING)]);
    let requests = |text: &str| {
        let bytes = (0..=255_u8).cycle().take(1024);
        text.bytes().chain([0]).chain(bytes).collect()
    };
    vec![
        ("policy", "web.yaml", WEB.into()),
        ("policy", "hardening.yaml", HARDENING.into()),
        ("policy", "web.json", json),
        ("policy", "no-policy.json", SCHEMA.into()),
        ("policy_set", "text", WEB.into()),
        ("policy_set", "signed", signed(WEB)),
        ("policy_set", "set", set.to_bytes()),
        ("policy_decisions", "web", requests(WEB)),
        ("policy_decisions", "hardening", requests(HARDENING)),
    ]
}
