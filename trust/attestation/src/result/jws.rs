//! The compact serialisation of a JWS (RFC 7515 section 7.1) in one strict shape.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::EarClaims;
use crate::digest::sha256;
use crate::text;

/// Largest token in bytes.
pub const MAX_TOKEN: usize = 136 << 10;

/// Bytes of an ES256 signature, `r || s` (RFC 7518 section 3.4).
const SIGNATURE_LEN: usize = 64;

/// The JOSE header; there is no room for another member.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Always `ES256`.
    pub alg: String,
    /// Always `eat+jwt` (RFC 9782).
    pub typ: String,
    /// SHA-256 of the signing certificate's DER (RFC 7515 section 4.1.8).
    #[serde(rename = "x5t#S256", with = "text::base64url")]
    pub certificate: [u8; 32],
}

/// A string that is no token of this shape; its signature was not even looked at.
#[derive(Debug, thiserror::Error)]
pub enum TokenShapeError {
    /// Larger than [`MAX_TOKEN`].
    #[error("the token has {size} bytes, the limit is {MAX_TOKEN}")]
    TooLarge {
        /// The size in bytes.
        size: usize,
    },
    /// Not three parts of base64url without padding.
    #[error("the token is not three parts of base64url (RFC 7515 section 7.1)")]
    Parts,
    /// The header is not JSON of exactly `alg`, `typ` and `x5t#S256`.
    #[error("the token's header is not one of alg, typ and x5t#S256: {0}")]
    Header(#[from] serde_json::Error),
    /// No signature at all.
    #[error("the token is not signed (`alg: none`)")]
    Unsigned,
    /// Another algorithm.
    #[error("the token is signed with {found}; only ES256 is accepted")]
    Algorithm {
        /// The algorithm found.
        found: String,
    },
    /// Another type of token.
    #[error("the token is of type {found}, not eat+jwt")]
    Type {
        /// The type found.
        found: String,
    },
    /// The signature is not 64 bytes long.
    #[error("an ES256 signature has 64 bytes, not {found}")]
    SignatureLength {
        /// The length found in bytes.
        found: usize,
    },
}

/// A token taken apart; nothing of it is verified.
pub(super) struct Parts<'t> {
    pub(super) header: Header,
    /// The bytes that are signed.
    pub(super) signed: &'t [u8],
    /// The claims, JSON.
    pub(super) claims: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// What the token key signs (RFC 7515 section 5.1): the header for its certificate (DER), and the claims.
#[must_use]
pub fn signing_input(certificate_der: &[u8], claims_json: &str) -> String {
    let header = Header {
        alg: Header::ALGORITHM.into(),
        typ: Header::TYPE.into(),
        certificate: sha256(certificate_der),
    };
    // INVARIANT: a struct of strings always has a JSON form.
    let header = serde_json::to_string(&header).unwrap_or_default();
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims_json)
    )
}

/// The token: the signing input with its ES256 signature, `r || s`.
#[must_use]
pub fn compact(signing_input: &str, signature: &[u8]) -> String {
    format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl Header {
    /// The one algorithm: ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
    pub const ALGORITHM: &'static str = "ES256";
    /// The one type (RFC 9782).
    pub const TYPE: &'static str = "eat+jwt";

    fn parse(json: &[u8]) -> Result<Self, TokenShapeError> {
        // Told apart before the strict shape is asked for, since such headers may lack `x5t#S256`.
        if let Ok(Loose { alg }) = serde_json::from_slice::<Loose>(json) {
            if alg.eq_ignore_ascii_case("none") {
                return Err(TokenShapeError::Unsigned);
            }
            if alg != Self::ALGORITHM {
                return Err(TokenShapeError::Algorithm {
                    found: crate::appraisal::quoted(&alg),
                });
            }
        }
        let header: Self = serde_json::from_slice(json)?;
        if header.typ != Self::TYPE {
            let found = crate::appraisal::quoted(&header.typ);
            return Err(TokenShapeError::Type { found });
        }
        Ok(header)
    }
}

#[derive(Deserialize)]
struct Loose {
    alg: String,
}

impl<'t> Parts<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, TokenShapeError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenShapeError::TooLarge { size: token.len() });
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenShapeError::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenShapeError::Parts)?;
        // A further dot would be in `claims`, where base64url has none.
        let bytes = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| TokenShapeError::Parts)
        };
        let header = Header::parse(&bytes(header)?)?;
        let claims = bytes(claims)?;
        let signature = bytes(signature)?;
        if claims.len() > EarClaims::MAX_JSON {
            return Err(TokenShapeError::TooLarge { size: token.len() });
        }
        if signature.len() != SIGNATURE_LEN {
            return Err(TokenShapeError::SignatureLength {
                found: signature.len(),
            });
        }
        Ok(Self {
            header,
            signed: signed.as_bytes(),
            claims,
            signature,
        })
    }
}
