//! A key that signs.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_cose::{Curve, PublicKey, Sign, SignError};

pub(crate) struct TestKey(EcdsaKeyPair);

impl TestKey {
    pub(crate) fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey::from_point(Curve::P384, self.0.public_key().as_ref()).unwrap()
    }
}

impl Sign for TestKey {
    fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.0.sign(&SystemRandom::new(), to_be_signed);
        Ok(signature.map_err(|_| SignError::Key)?.as_ref().to_vec())
    }
}
