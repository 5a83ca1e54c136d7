//! Tokens by a verifier made here, and what others might present instead.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;
use crate::appraisal::tests::fleet::{Fleet, NOW_S};
use crate::appraisal::tests::scene::Scene;
use crate::appraisal::{Finding, Status, VerifiedReport, appraise};
use crate::boot::Sha384;
use crate::certificates::{ChainError, Usage};
use crate::measurement::Digest;
use crate::profile::ApplicationProfile;

/// A token key with its certificate.
struct TokenKey {
    pair: EcdsaKeyPair,
    chain: Vec<Vec<u8>>,
}

struct PublicHalf<'a>(&'a [u8]);

impl rcgen::PublicKeyData for PublicHalf<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl TokenKey {
    fn of(fleet: &Fleet, usage: Usage, uri: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = PublicHalf(pair.public_key().as_ref());
        let chain = fleet.certified_by_ca(&public, usage, uri);
        Self { pair, chain }
    }

    fn sign(&self, input: &str) -> String {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), input.as_bytes())
            .unwrap();
        compact(input, signature.as_ref())
    }

    fn token(&self, claims_json: &str) -> String {
        self.sign(&signing_input(&self.chain[0], claims_json))
    }
}

struct Stage {
    fleet: Fleet,
    key: TokenKey,
    claims: EarClaims,
}

fn claims_of(scene: &Scene) -> EarClaims {
    let profile = ApplicationProfile::try_from(scene.profile.clone()).unwrap();
    claims_by(&scene.verified(), &profile)
}

fn claims_by(verified: &VerifiedReport, profile: &ApplicationProfile) -> EarClaims {
    let issue = Issue {
        issuer: "https://verifier.example".into(),
        verdict: "0190b6c8-4b7e-7000-8000-000000000001".into(),
        build: "bartizan-verifier 0.1.0".into(),
        now_s: NOW_S,
        lifetime_s: 300,
        releases: vec![ReleaseClaims {
            product: "bartizan".into(),
            version: 7,
            manifest: Digest(vec![6; 48]),
        }],
        firmware: Some(FirmwareClaims {
            pcrs: vec![0, 4, 7],
            reference: Some(ReferenceClaims {
                name: "r760 1.8".into(),
                id: Digest(vec![8; 48]),
            }),
        }),
    };
    claims(verified, &appraise(verified, Some(profile)), &issue)
}

impl Stage {
    fn new() -> Self {
        let fleet = Fleet::new();
        let key = TokenKey::of(&fleet, Usage::Token, "urn:bartizan:token");
        Self {
            key,
            fleet,
            claims: claims_of(&Scene::clean()),
        }
    }

    fn expectation(&self) -> Expectation<'static> {
        Expectation {
            audience: "https://bank.example",
            application: "ledger",
            guest: self.claims.sub,
            guest_nonce: [2; 32],
            request_digest: [3; 32],
            key_thumbprint: [4; 32],
            now_s: NOW_S,
        }
    }

    fn verify(&self, token: &str) -> Result<AttestationResult, TokenError> {
        let certificates = [self.key.chain.clone()];
        verify_token(token, &certificates, &self.fleet.ca, &self.expectation())
    }

    fn verify_against(&self, change: impl FnOnce(&mut Expectation<'static>)) -> TokenError {
        let mut expectation = self.expectation();
        change(&mut expectation);
        let token = self.key.token(&self.claims.to_json());
        let certificates = [self.key.chain.clone()];
        verify_token(&token, &certificates, &self.fleet.ca, &expectation).unwrap_err()
    }
}

fn with_header(token: &str, header: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

#[test]
fn a_right_token_is_verified_and_affirms() {
    let stage = Stage::new();
    let json = stage.claims.to_json();
    assert_eq!(check_claims_json(&json).unwrap(), stage.claims);
    let result = stage.verify(&stage.key.token(&json)).unwrap();
    assert_eq!(result.status(), Status::Affirming);
    assert_eq!(*result.into_affirmed().unwrap().claims(), stage.claims);
}

#[test]
fn the_basis_names_the_phases_the_releases_and_the_firmware_of_the_hosts_boot() {
    let claims: serde_json::Value = serde_json::from_str(&Stage::new().claims.to_json()).unwrap();
    let boot = &claims["bartizan_basis"]["boot"];
    let register = |name: &str| Sha384::of(name.as_bytes()).to_string();
    let expected = serde_json::json!({
        "phases": [
            { "phase": "card", "register": register("card") },
            { "phase": "devices", "register": register("devices") },
        ],
        "releases": [{ "product": "bartizan", "version": 7, "manifest": "06".repeat(48) }],
        "firmware": {
            "pcrs": [0, 4, 7], "reference": { "name": "r760 1.8", "id": "08".repeat(48) },
        },
    });
    assert_eq!(*boot, expected);
    let scene = Scene::clean();
    let profile = ApplicationProfile::try_from(scene.profile.clone()).unwrap();
    let claims = claims_by(&scene.of_an_unmeasured_boot(), &profile);
    assert_eq!(claims.bartizan_basis.boot, None);
}

#[test]
fn the_claims_have_the_names_of_the_draft() {
    let claims: serde_json::Value = serde_json::from_str(&Stage::new().claims.to_json()).unwrap();
    assert_eq!(claims["eat_profile"], "tag:ietf.org,2026:rats/ear#04");
    assert_eq!(claims["eat_nonce"], URL_SAFE_NO_PAD.encode([2; 32]));
    assert_eq!(claims["cnf"]["jkt"], URL_SAFE_NO_PAD.encode([4; 32]));
    assert!(claims["ear_verifier_id"]["developer"].is_string());
    assert!(claims["ear_verifier_id"]["build"].is_string());
    let memory = &claims["submods"]["memory"];
    assert_eq!(memory["ear_status"], "affirming");
    assert_eq!(memory["ear_trustworthiness_vector"]["executables"], 2);
    assert!(memory["ear_appraisal_policy_ids"][0].is_string());
    assert_eq!(claims["bartizan_basis"]["vault"], "development");
    assert_eq!(
        claims["bartizan_basis"]["unappraised"][0]["address"],
        "0x7ffff0000000"
    );
    assert_eq!(
        claims["bartizan_basis"]["translation"]["banner"],
        "Linux version 6.1.0\u{fffd}"
    );
}

#[test]
fn a_verified_token_that_does_not_affirm_is_no_success() {
    let mut scene = Scene::clean();
    scene.memories[0].pages[1][7] ^= 1;
    let claims = claims_of(&scene);
    let stage = Stage {
        claims,
        ..Stage::new()
    };
    let token = stage.key.token(&stage.claims.to_json());
    let refused = stage.verify(&token).unwrap().into_affirmed().unwrap_err();
    assert_eq!(refused.status, Status::Contraindicated);
    assert!(
        refused.to_string().contains("/usr/sbin/ledger"),
        "{refused}"
    );
}

#[test]
fn an_error_says_the_first_findings_and_how_many_there_are_beside() {
    let said = |count: usize| {
        let refusal = NotAffirmedError {
            status: Status::Contraindicated,
            findings: vec![Finding::NoProfile; count],
        };
        refusal.to_string()
    };
    let one = Finding::NoProfile.to_string();
    assert!(said(3).ends_with(&[&*one; 3].join("; ")));
    assert!(said(7).ends_with(&format!("{}; and 4 more", [&*one; 3].join("; "))));
}

#[test]
fn each_expectation_has_its_own_error() {
    use TokenError as E;
    let stage = Stage::new();
    assert!(matches!(
        stage.verify_against(|it| it.audience = "x"),
        E::OtherAudience { .. }
    ));
    assert!(matches!(
        stage.verify_against(|it| it.application = "x"),
        E::OtherApplication { .. }
    ));
    assert!(matches!(
        stage.verify_against(|it| it.guest.boot += 1),
        E::OtherGuest { .. }
    ));
    assert!(matches!(
        stage.verify_against(|it| it.guest_nonce[0] ^= 1),
        E::OtherNonce
    ));
    assert!(matches!(
        stage.verify_against(|it| it.request_digest[0] ^= 1),
        E::OtherRequest
    ));
    assert!(matches!(
        stage.verify_against(|it| it.key_thumbprint[0] ^= 1),
        E::OtherKey
    ));
    assert!(matches!(
        stage.verify_against(|it| it.now_s += 300),
        E::Expired { ago_s: 0 }
    ));
    assert!(matches!(
        stage.verify_against(|it| it.now_s -= 61),
        E::NotYetValid { ahead_s: 61 }
    ));
}

#[test]
fn no_algorithm_but_es256() {
    let stage = Stage::new();
    let token = stage.key.token(&stage.claims.to_json());
    let shape = |token: &str| match stage.verify(token).unwrap_err() {
        TokenError::Shape(error) => error,
        other => panic!("{other}"),
    };
    for alg in ["none", "None", "NONE"] {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        let unsigned = with_header(&token, &header);
        let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
        assert!(matches!(shape(unsigned), TokenShapeError::Unsigned));
    }
    for alg in ["HS256", "ES384", "RS256", "es256"] {
        let header = format!(r#"{{"alg":"{alg}","typ":"eat+jwt"}}"#);
        assert!(matches!(
            shape(&with_header(&token, &header)),
            TokenShapeError::Algorithm { .. }
        ));
    }
    let right = serde_json::to_string(&Header {
        alg: "ES256".into(),
        typ: "eat+jwt".into(),
        certificate: crate::digest::sha256(&stage.key.chain[0]),
    })
    .unwrap();
    stage.verify(&with_header(&token, &right)).unwrap();
    let jwk = right.replacen('{', r#"{"jwk":{"kty":"EC"},"#, 1);
    assert!(matches!(
        shape(&with_header(&token, &jwk)),
        TokenShapeError::Header(_)
    ));
    let typ = right.replace("eat+jwt", "JWT");
    assert!(matches!(
        shape(&with_header(&token, &typ)),
        TokenShapeError::Type { .. }
    ));
    assert!(matches!(
        shape(&format!("{token}.")),
        TokenShapeError::Parts
    ));
    assert!(matches!(
        shape(&format!("{token}=")),
        TokenShapeError::Parts
    ));
    let short = compact(token.rsplit_once('.').unwrap().0, &[1; 63]);
    assert!(matches!(
        shape(&short),
        TokenShapeError::SignatureLength { found: 63 }
    ));
    let long = "a".repeat(MAX_TOKEN + 1);
    assert!(matches!(shape(&long), TokenShapeError::TooLarge { .. }));
}

#[test]
fn a_swapped_key_is_refused_wherever_it_is_put() {
    let stage = Stage::new();
    let json = stage.claims.to_json();
    // A key of the attacker's under the verifier's certificate.
    let own = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let thief = TokenKey {
        pair: own,
        chain: stage.key.chain.clone(),
    };
    assert!(matches!(
        stage.verify(&thief.token(&json)),
        Err(TokenError::Signature)
    ));
    // A certificate that the verifier does not publish.
    let second = TokenKey::of(&stage.fleet, Usage::Token, "urn:bartizan:token");
    assert!(matches!(
        stage.verify(&second.token(&json)),
        Err(TokenError::UnknownCertificate)
    ));
    // A certificate of another fleet, substituted on the way.
    let verify = |key: &TokenKey| {
        let published = [stage.key.chain.clone(), key.chain.clone()];
        verify_token(
            &key.token(&json),
            &published,
            &stage.fleet.ca,
            &stage.expectation(),
        )
    };
    verify(&second).unwrap();
    let foreign = TokenKey::of(&Fleet::new(), Usage::Token, "urn:bartizan:token");
    let refused = verify(&foreign);
    assert!(matches!(
        refused,
        Err(TokenError::Certificate(ChainError::ForeignCa))
    ));
    // A certificate of this fleet for something else.
    let operator = TokenKey::of(
        &stage.fleet,
        Usage::Operator,
        "urn:bartizan:operator:mallory",
    );
    assert!(matches!(verify(&operator), Err(TokenError::Certificate(_))));
}

#[test]
fn the_vault_signs_nothing_but_results() {
    use ClaimsError as E;
    let right = Stage::new().claims;
    let refused = |change: fn(&mut EarClaims)| {
        let mut claims = right.clone();
        change(&mut claims);
        check_claims_json(&claims.to_json()).unwrap_err()
    };
    assert!(matches!(refused(|it| it.eat_profile.push('x')), E::Profile));
    assert!(matches!(refused(|it| it.exp = it.iat), E::Lifetime));
    assert!(matches!(refused(|it| it.exp = it.iat + 901), E::Lifetime));
    assert!(matches!(refused(|it| it.exp = 0), E::Lifetime));
    assert!(matches!(refused(|it| it.nbf = 0), E::Lifetime));
    assert!(matches!(refused(|it| it.aud.clear()), E::Names));
    let whitewashed =
        |it: &mut EarClaims| it.submods.memory.ear_verifier_claims.omitted_findings = 1;
    assert!(matches!(refused(whitewashed), E::Status));
    let vector = |it: &mut EarClaims| it.submods.memory.ear_trustworthiness_vector.executables = 96;
    assert!(matches!(refused(vector), E::Status));
    let ungrounded = |it: &mut EarClaims| it.submods.memory.ear_appraisal_policy_ids.clear();
    assert!(matches!(refused(ungrounded), E::Status));

    let json = right.to_json();
    let more = json.replacen('{', r#"{"admin":true,"#, 1);
    assert!(matches!(check_claims_json(&more), Err(E::NotCanonical)));
    assert!(matches!(
        check_claims_json(&format!("{json} ")),
        Err(E::NotCanonical)
    ));
    assert!(matches!(check_claims_json("{}"), Err(E::Malformed(_))));
    let big = " ".repeat(EarClaims::MAX_JSON + 1);
    assert!(matches!(check_claims_json(&big), Err(E::TooLarge { .. })));
}

#[test]
fn the_worst_that_a_guest_can_cause_still_fits() {
    let mut scene = Scene::clean();
    for index in 0..100 {
        let path = "\"".repeat(4096);
        let code = crate::appraisal::tests::scene::code("x", 1);
        let at = 0x1000 + index * 0x2000;
        scene.memories.push(crate::appraisal::tests::scene::memory(
            at,
            Some(&path),
            0,
            code,
        ));
    }
    check_claims_json(&claims_of(&scene).to_json()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_change_of_a_token_is_refused(at: proptest::sample::Index, with in "[A-Za-z0-9_.-]") {
        thread_local!(static STAGE: Stage = Stage::new());
        STAGE.with(|stage| {
            let token = stage.key.token(&stage.claims.to_json());
            let at = at.index(token.len());
            let changed = format!("{}{with}{}", &token[..at], &token[at + 1..]);
            assert!(changed == token || stage.verify(&changed).is_err());
        });
    }

    #[test]
    fn any_text_as_token(text in ".{0,256}") {
        thread_local!(static STAGE: Stage = Stage::new());
        STAGE.with(|stage| assert!(stage.verify(&text).is_err()));
    }

    #[test]
    fn any_bytes_as_claims(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = check_claims_json(&String::from_utf8_lossy(&bytes));
    }
}
