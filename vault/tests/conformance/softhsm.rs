//! The `pkcs11` back end: SoftHSM's tokens in a folder.

#[path = "softhsm/cases.rs"]
mod cases;

use std::path::Path;
use std::sync::Arc;

use bartizan_vault::backend::{Backend, Generation};
use bartizan_vault::pkcs11::{Pin, Pkcs11, TokenName};

use crate::rig::{Rig, Store};
use crate::tokens::{MODULE, Tokens};
pub(crate) use cases::CASES;

pub(crate) fn set_up(folder: &Path) -> Box<dyn Rig> {
    Box::new(tokens(folder))
}

pub(crate) fn label(store: Store) -> String {
    format!("vault {store:?}")
}

/// By a module that reaches them.
pub(crate) fn open(module: &str, store: Store, tokens: &Tokens) -> Arc<dyn Backend> {
    let token = TokenName {
        module: module.into(),
        label: label(store),
        serial: None,
    };
    let backend = Pkcs11::open(token, Pin::from_file(&tokens.pin()).unwrap()).unwrap();
    backend.begin_sealing(Generation([0; 32])).unwrap();
    Arc::new(backend)
}

/// Both stores' tokens.
pub(crate) fn tokens(folder: &Path) -> Tokens {
    let tokens = Tokens::make(folder);
    for store in [Store::First, Store::Second] {
        tokens.add(&label(store));
    }
    tokens
}

impl Rig for Tokens {
    fn open(&self, store: Store) -> Arc<dyn Backend> {
        open(MODULE, store, self)
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
