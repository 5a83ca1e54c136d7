//! A real token of the stack, read by others than it is for, altered, or signed by somebody else.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use bartizan_attestation::certificates::{ChainError, FleetCa};
use bartizan_attestation::digest::sha256;
use bartizan_attestation::measurement::MeasurementRequest;
use bartizan_attestation::result::{Expectation, TokenError, TokenShapeError, verify_token};
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;

use super::foreign::Fleet;
use crate::Case;
use crate::requests::{Enrolled, attest, nonce, request, some_page};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    ("refusals::token_for_somebody_else", somebody_else),
    ("refusals::token_of_an_earlier_request", earlier_request),
    ("refusals::token_with_alg_none", alg_none),
    ("refusals::token_with_a_swapped_signature", swapped),
    ("refusals::token_key_that_was_substituted", substituted),
];

/// A token, and what its reader knows.
struct Obtained {
    token: String,
    certificates: Vec<Vec<Vec<u8>>>,
    enrolled: Enrolled,
    asked: MeasurementRequest,
    request_digest: [u8; 32],
}

impl Obtained {
    fn from(guest: &mut Guest) -> Result<Self> {
        let enrolled = Enrolled::of(guest)?;
        let asked = request("nginx", nonce(guest)?, some_page())?;
        let signed = enrolled.sign(&asked)?;
        let answer = attest(guest, &signed)?;
        let obtained = Self {
            token: answer.token()?.into(),
            certificates: answer.token_certificates()?,
            enrolled,
            asked,
            request_digest: sha256(&signed),
        };
        // Right as it is: what is refused below is refused for what was changed.
        let (token, certificates) = (&obtained.token, &obtained.certificates);
        verify_token(token, certificates, obtained.ca(), &obtained.expected()?)?;
        Ok(obtained)
    }

    fn ca(&self) -> &FleetCa {
        &self.enrolled.fleet_ca
    }

    fn expected(&self) -> Result<Expectation<'_>> {
        Ok(Expectation {
            audience: &self.asked.audience,
            application: &self.asked.application,
            guest: self.enrolled.guest,
            guest_nonce: self.asked.guest_nonce,
            request_digest: self.request_digest,
            key_thumbprint: self.enrolled.key.public_key().thumbprint(),
            now_s: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        })
    }

    /// Why a token is refused by this one's reader.
    fn refused(&self, token: &str, certificates: &[Vec<Vec<u8>>]) -> Result<TokenError> {
        match verify_token(token, certificates, self.ca(), &self.expected()?) {
            Err(error) => Ok(error),
            Ok(result) => anyhow::bail!("accepted: {result:?}"),
        }
    }

    /// Why this token is refused by a reader that expects something else.
    fn refused_by(&self, change: impl FnOnce(&mut Expectation<'_>)) -> Result<TokenError> {
        let mut expected = self.expected()?;
        change(&mut expected);
        match verify_token(&self.token, &self.certificates, self.ca(), &expected) {
            Err(error) => Ok(error),
            Ok(result) => anyhow::bail!("accepted: {result:?}"),
        }
    }

    /// The token's parts: header, claims, signature.
    fn parts(&self) -> Vec<&str> {
        self.token.split('.').collect()
    }
}

/// Fails unless an error is of the kind that is due.
macro_rules! due {
    ($error:expr, $kind:pat) => {{
        let error = $error?;
        ensure!(matches!(error, $kind), "{error:?}");
    }};
}

fn somebody_else(world: &mut World) -> Result<()> {
    use TokenError as E;

    let (_, web, other) = world.two()?;
    let token = Obtained::from(web)?;
    let other = Enrolled::of(other)?;
    let others_key = other.key.public_key().thumbprint();
    due!(
        token.refused_by(|it| it.audience = "https://other.example"),
        E::OtherAudience { .. }
    );
    due!(
        token.refused_by(|it| it.application = "ledger"),
        E::OtherApplication { .. }
    );
    due!(
        token.refused_by(|it| it.guest = other.guest),
        E::OtherGuest { .. }
    );
    due!(
        token.refused_by(|it| it.guest.boot += 1),
        E::OtherGuest { .. }
    );
    due!(
        token.refused_by(|it| it.guest_nonce[31] ^= 1),
        E::OtherNonce
    );
    due!(
        token.refused_by(|it| it.key_thumbprint = others_key),
        E::OtherKey
    );
    due!(token.refused_by(|it| it.now_s += 1000), E::Expired { .. });
    due!(token.refused_by(|it| it.now_s -= 70), E::NotYetValid { .. });
    Ok(())
}

/// A token that was good shows nothing about the next request.
fn earlier_request(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let first = Obtained::from(web)?;
    let second = Obtained::from(web)?;
    due!(
        second.refused(&first.token, &first.certificates),
        TokenError::OtherNonce
    );
    // Not even where the guest chose its nonce anew as it was.
    due!(
        first.refused_by(|it| it.request_digest = second.request_digest),
        TokenError::OtherRequest
    );
    Ok(())
}

fn alg_none(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let token = Obtained::from(web)?;
    let [_, claims, signature] = token.parts()[..] else {
        anyhow::bail!("a token has three parts");
    };
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None","typ":"eat+jwt"}"#] {
        let header = B64.encode(header);
        for signature in ["", signature] {
            let unsigned = format!("{header}.{claims}.{signature}");
            due!(
                token.refused(&unsigned, &token.certificates),
                TokenError::Shape(TokenShapeError::Unsigned)
            );
        }
    }
    let symmetric = B64.encode(r#"{"alg":"HS256","typ":"eat+jwt"}"#);
    due!(
        token.refused(
            &format!("{symmetric}.{claims}.{signature}"),
            &token.certificates
        ),
        TokenError::Shape(TokenShapeError::Algorithm { .. })
    );
    Ok(())
}

/// The signature of another token by the same key, and one with a bit flipped.
fn swapped(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let (one, other) = (Obtained::from(web)?, Obtained::from(web)?);
    let parts = one.parts();
    let mixed = format!("{}.{}.{}", parts[0], parts[1], other.parts()[2]);
    due!(
        one.refused(&mixed, &one.certificates),
        TokenError::Signature
    );
    let mut signature = B64.decode(parts[2])?;
    signature[40] ^= 1;
    let flipped = format!("{}.{}.{}", parts[0], parts[1], B64.encode(signature));
    due!(
        one.refused(&flipped, &one.certificates),
        TokenError::Signature
    );
    Ok(())
}

/// A host that puts a verifier of its own in the place of the fleet's: the claims are what the guest waits for,
/// well signed, with a certificate for tokens, which the token's header names. Only the anchor tells.
fn substituted(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let token = Obtained::from(web)?;
    let claims = String::from_utf8(B64.decode(token.parts()[1])?)?;
    let fleet = Fleet::founded()?;
    let foreign = fleet.verifier()?;
    let forged = foreign.sign(&claims)?;
    // It would do in its own fleet: nothing but the anchor is wrong with it.
    verify_token(&forged, &[foreign.chain()], &fleet.ca, &token.expected()?)?;
    due!(
        token.refused(&forged, &[foreign.chain()]),
        TokenError::Certificate(ChainError::ForeignCa)
    );
    // Slipped in beside the true ones, or not at all.
    let mut both = token.certificates.clone();
    both.push(foreign.chain());
    due!(
        token.refused(&forged, &both),
        TokenError::Certificate(ChainError::ForeignCa)
    );
    due!(
        token.refused(&forged, &token.certificates),
        TokenError::UnknownCertificate
    );
    due!(
        token.refused(&token.token, &[foreign.chain()]),
        TokenError::UnknownCertificate
    );
    Ok(())
}
