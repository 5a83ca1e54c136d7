//! The `pkcs11` back end, its tokens in another process: SoftHSM's, served by p11-kit.

#[path = "served/server.rs"]
mod server;

use std::path::Path;
use std::sync::{Arc, Mutex};

use bartizan_vault::backend::Backend;

use crate::rig::{Rig, Store};
use crate::softhsm;
use crate::tokens::Tokens;
pub(crate) use server::environment;
use server::{MODULE, Server};

struct Served {
    tokens: Tokens,
    server: Mutex<Server>,
}

pub(crate) fn set_up(folder: &Path) -> Box<dyn Rig> {
    Box::new(Served {
        tokens: softhsm::tokens(folder),
        server: Mutex::new(Server::start(folder)),
    })
}

impl Rig for Served {
    fn open(&self, store: Store) -> Arc<dyn Backend> {
        softhsm::open(MODULE, store, &self.tokens)
    }

    fn has_device(&self) -> bool {
        true
    }

    fn keeps_keys(&self) -> bool {
        true
    }

    fn take_away(&self) {
        self.server.lock().unwrap().kill();
    }

    fn put_back(&self) {
        self.server.lock().unwrap().start_again();
    }
}
