//! The `tpm2` back end: swtpm, a TPM as a process whose state is a folder.

#[path = "swtpm/cases.rs"]
mod cases;
#[path = "swtpm/simulator.rs"]
mod simulator;

use std::path::Path;
use std::sync::{Arc, Mutex};

use bartizan_vault::backend::Backend;
use bartizan_vault::config::TpmConfig;
use bartizan_vault::tpm2::Tpm2;

use crate::rig::{Rig, Store};
pub(crate) use cases::CASES;
use simulator::Simulator;

/// Two TPMs.
struct Tpms([Mutex<Simulator>; 2]);

pub(crate) fn set_up(folder: &Path) -> Box<dyn Rig> {
    let start = |name| Mutex::new(Simulator::start(&folder.join(name)));
    Box::new(Tpms([start("first"), start("second")]))
}

impl Tpms {
    fn config(&self, store: Store) -> TpmConfig {
        TpmConfig {
            tcti: self.of(store).lock().unwrap().tcti().try_into().unwrap(),
            measurement_pcr: 12,
            authority_pcr: 15,
            host_pcrs: Vec::new(),
            quoted_pcrs: Vec::new(),
        }
    }

    fn of(&self, store: Store) -> &Mutex<Simulator> {
        match store {
            Store::First => &self.0[0],
            Store::Second => &self.0[1],
        }
    }
}

impl Rig for Tpms {
    fn open(&self, store: Store) -> Arc<dyn Backend> {
        Arc::new(Tpm2::open(&self.config(store)).unwrap())
    }

    fn has_device(&self) -> bool {
        true
    }

    fn keeps_keys(&self) -> bool {
        false
    }

    fn take_away(&self) {
        self.of(Store::First).lock().unwrap().kill();
    }

    fn put_back(&self) {
        self.of(Store::First).lock().unwrap().resume();
    }

    fn tcti(&self) -> String {
        self.of(Store::First).lock().unwrap().tcti()
    }
}
