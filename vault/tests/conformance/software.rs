//! The `software` back end: a root key in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bartizan_vault::backend::Backend;
use bartizan_vault::software::{RootKey, Software};

use crate::rig::{Rig, Store};

struct Files(PathBuf);

pub(crate) fn set_up(folder: &Path) -> Box<dyn Rig> {
    Box::new(Files(folder.into()))
}

impl Rig for Files {
    fn open(&self, store: Store) -> Arc<dyn Backend> {
        let path = self.0.join(format!("{store:?}"));
        Arc::new(Software::new(RootKey::make_file(&path).unwrap()))
    }

    fn has_device(&self) -> bool {
        false
    }

    fn keeps_keys(&self) -> bool {
        false
    }

    fn take_away(&self) {}

    fn put_back(&self) {}
}
