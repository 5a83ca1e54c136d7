//! The `pkcs11` back end: SoftHSM's tokens in a folder.

#[path = "softhsm/cases.rs"]
mod cases;
#[path = "softhsm/tokens.rs"]
mod tokens;

use std::path::Path;
use std::sync::Arc;

use bartizan_vault::backend::{Backend, Generation};
use bartizan_vault::pkcs11::{Pin, Pkcs11, TokenName};

use crate::rig::{Rig, Store};
pub(crate) use cases::CASES;
pub(crate) use tokens::{MODULE, PIN, Tokens, configuration};

pub(crate) fn set_up(folder: &Path) -> Box<dyn Rig> {
    let tokens = Tokens::make(folder);
    for store in [Store::First, Store::Second] {
        tokens.add(&label(store));
    }
    Box::new(tokens)
}

pub(crate) fn label(store: Store) -> String {
    format!("vault {store:?}")
}

impl Rig for Tokens {
    fn open(&self, store: Store) -> Arc<dyn Backend> {
        let token = TokenName {
            module: MODULE.into(),
            label: label(store),
            serial: None,
        };
        let backend = Pkcs11::open(token, Pin::from_file(&self.pin()).unwrap()).unwrap();
        backend.begin_sealing(Generation([0; 32])).unwrap();
        Arc::new(backend)
    }

    fn has_device(&self) -> bool {
        true
    }

    fn keeps_keys(&self) -> bool {
        true
    }

    fn take_away(&self) {
        self.take_away();
    }

    fn put_back(&self) {
        self.put_back();
    }
}
