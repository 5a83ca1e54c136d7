//! Signing without a vault: the library, and a key that is ready to be used.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use bartizan_attestation::digest::hash;
use bartizan_attestation::measurement::HashAlgorithm;
use bartizan_tests::token::Token;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Digest, EccPoint, EccScheme, HashScheme, HashcheckTicket, KeyDerivationFunctionScheme,
    PublicBuilder, PublicEccParameters, SignatureScheme, SymmetricDefinitionObject,
};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::{Context as Tss, TctiNameConf};

/// Signs with ECDSA P-384 and SHA-384.
pub(super) trait Primitive: Send {
    fn sign(&mut self, message: &[u8]) -> Result<()>;
}

/// A key in memory.
pub(super) struct Software(EcdsaKeyPair);

impl Software {
    pub(super) fn generate() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING);
        let pair = pair.map_err(|_| anyhow::anyhow!("no key could be generated"))?;
        Ok(Self(pair))
    }
}

impl Primitive for Software {
    fn sign(&mut self, message: &[u8]) -> Result<()> {
        let made = self.0.sign(&SystemRandom::new(), message);
        let made = made.map_err(|_| anyhow::anyhow!("no signature"))?;
        std::hint::black_box(made);
        Ok(())
    }
}

/// A key that is loaded in a TPM.
pub(super) struct TpmKey {
    context: Tss,
    key: KeyHandle,
}

impl TpmKey {
    /// Beside the vault's own: each of the TPM's commands has a connection of its own.
    pub(super) fn create(tcti: &str) -> Result<Self> {
        let mut context = Tss::new(tcti.parse::<TctiNameConf>()?)?;
        let attributes = ObjectAttributesBuilder::new()
            .with_fixed_tpm(true)
            .with_fixed_parent(true)
            .with_sensitive_data_origin(true)
            .with_no_da(true)
            .with_user_with_auth(true)
            .with_sign_encrypt(true)
            .build()?;
        let parameters = PublicEccParameters::new(
            SymmetricDefinitionObject::Null,
            EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha384)),
            EccCurve::NistP384,
            KeyDerivationFunctionScheme::Null,
        );
        let public = PublicBuilder::new()
            .with_public_algorithm(PublicAlgorithm::Ecc)
            .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
            .with_object_attributes(attributes)
            .with_ecc_parameters(parameters)
            .with_ecc_unique_identifier(EccPoint::default())
            .build()?;
        let made = context.execute_with_session(Some(AuthSession::Password), |context| {
            context.create_primary(Hierarchy::Owner, public, None, None, None, None)
        })?;
        context.set_sessions((Some(AuthSession::Password), None, None));
        Ok(Self {
            key: made.key_handle,
            context,
        })
    }
}

impl Primitive for TpmKey {
    fn sign(&mut self, message: &[u8]) -> Result<()> {
        let digest = Digest::try_from(hash(HashAlgorithm::Sha384, message).0)?;
        let hash_scheme = HashScheme::new(HashingAlgorithm::Sha384);
        let ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: TPM2_ST_HASHCHECK,
            hierarchy: TPM2_RH_NULL,
            digest: Default::default(),
        })?;
        let scheme = SignatureScheme::EcDsa { hash_scheme };
        std::hint::black_box(self.context.sign(self.key, digest, scheme, ticket)?);
        Ok(())
    }
}

/// A key in a PKCS #11 token.
pub(super) struct TokenKey {
    session: Session,
    key: ObjectHandle,
}

impl TokenKey {
    /// Makes one beside the vault's.
    pub(super) fn generate(token: &Token) -> Result<Self> {
        let settings = std::env::var_os("SOFTHSM2_CONF");
        let settings = settings.context("SOFTHSM2_CONF is not set; run this by `cargo xtask`")?;
        std::fs::copy(token.configuration(), settings)?;
        let module = Pkcs11::new(Token::MODULE)?;
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        let mut slots = Vec::new();
        for slot in module.get_slots_with_token()? {
            if module.get_token_info(slot)?.label().trim_end() == Token::LABEL {
                slots.push(slot);
            }
        }
        ensure!(slots.len() == 1, "{} tokens", slots.len());
        let session = module.open_rw_session(slots[0])?;
        session.login(UserType::User, Some(&AuthPin::new(Token::PIN.into())))?;
        // secp384r1 (RFC 5480 section 2.1.1.1), DER.
        let curve = vec![0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
        let public = [Attribute::Token(false), Attribute::EcParams(curve)];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        let (_, key) = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
        Ok(Self { session, key })
    }
}

impl Primitive for TokenKey {
    fn sign(&mut self, message: &[u8]) -> Result<()> {
        let digest = hash(HashAlgorithm::Sha384, message).0;
        std::hint::black_box(self.session.sign(&Mechanism::Ecdsa, self.key, &digest)?);
        Ok(())
    }
}
