//! What a phase does.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use bartizan_boot::{
    Bundle, Component, Link, Phase, Refusal, Sequence, Start, VaultStep, VerifiedManifest,
};
use bartizan_cose::PublicKey;

use crate::family::{Family, Files, Happened};
use crate::measured::{MeasureError, Measured};
use crate::vault::{Vault, VaultError};

/// A host: what was measured of it, and what runs.
#[derive(Debug)]
pub struct Host {
    release_key: PublicKey,
    sequence: Sequence,
    files: Files,
    /// Libraries among them, by their paths.
    libraries: BTreeMap<String, Measured>,
    family: Family,
    vault: Told,
    bundle: Option<Bundle>,
}

/// The vault is told everything, from the moment that it runs.
#[derive(Debug)]
enum Told {
    /// It does not run yet: what it will be told.
    Not(Vec<VaultStep>),
    /// It runs, by this name.
    Vault(String, Vault),
}

impl Host {
    /// What the firmware measured is the first that the vault is told.
    pub(super) fn new(release_key: PublicKey, firmware: Option<Vec<u8>>, family: Family) -> Self {
        Self {
            sequence: Sequence::new(release_key.sha256()),
            release_key,
            files: Files::new(),
            libraries: BTreeMap::new(),
            family,
            vault: Told::Not(firmware.map(VaultStep::Firmware).into_iter().collect()),
            bundle: None,
        }
    }

    /// Accepts the manifest that is due. Whether it is too old the vault knows.
    pub(super) fn accept(&mut self, signed: &[u8]) -> Result<(), Refusal> {
        let manifest = VerifiedManifest::verify(signed, &self.release_key)
            .map_err(|error| Refusal::Manifest(error.to_string()))?;
        let (part, version) = (manifest.manifest().part, manifest.manifest().version);
        self.sequence.accept(manifest, 0)?;
        self.tell(VaultStep::Release(signed.to_vec()))?;
        eprintln!("release of the {part}, version {version}, signed by this host's release key");
        Ok(())
    }

    /// Keeps the files that travel in a bundle, until they are measured.
    pub(super) fn carry(&mut self, bundle: Bundle) {
        self.bundle = Some(bundle);
    }

    pub(super) fn has(&self, phase: Phase) -> bool {
        let manifest = self.sequence.manifest(phase);
        manifest.is_some_and(|manifest| manifest.manifest().of(phase).next().is_some())
    }

    /// Measures a phase, ends it, starts its programs. Answers the link of the stage among them.
    pub(super) fn perform(&mut self, phase: Phase) -> Result<Option<UnixStream>, Refusal> {
        while let Some(due) = self.sequence.due().cloned() {
            self.measure(phase, &due)?;
        }
        self.sequence.complete(phase)?;
        self.tell(VaultStep::Complete(phase))?;
        // What travelled in the bundle was measured by now.
        self.bundle = None;
        eprintln!("phase {phase}: measured");
        let manifest = self
            .sequence
            .manifest(phase)
            .map(|manifest| manifest.manifest().clone());
        let mut stage = None;
        for (component, start) in manifest
            .iter()
            .flat_map(|manifest| manifest.started_in(phase))
        {
            if start.link == Some(Link::Vault) {
                continue;
            }
            // A manifest has one at most in a phase.
            stage = self.start(phase, component, start)?.or(stage);
        }
        Ok(stage)
    }

    fn measure(&mut self, phase: Phase, due: &Component) -> Result<(), Refusal> {
        let name = &due.name;
        let unreadable = |why: String| Refusal::Unreadable {
            phase,
            component: name.clone(),
            why,
        };
        let measured = match &due.path {
            Some(path) => self
                .measure_file(name, path)
                .map_err(|error| unreadable(error.to_string())),
            None => {
                let carried = self.bundle.as_ref().and_then(|bundle| bundle.file(name));
                let bytes =
                    carried.ok_or_else(|| unreadable("the bundle does not have it".into()))?;
                Measured::bytes(name, bytes).map_err(|error| unreadable(error.to_string()))
            }
        }?;
        let sha384 = measured.sha384;
        self.sequence.measure(name, sha384)?;
        self.files.insert(name.clone(), measured);
        self.tell(VaultStep::Measure {
            name: name.clone(),
            sha384,
        })?;
        match &due.start {
            Some(start) if start.link == Some(Link::Vault) => self.start_vault(phase, due, start),
            _ => Ok(()),
        }
    }

    /// One library is many programs': it is read once, and all have the same memory.
    fn measure_file(&mut self, name: &str, path: &str) -> Result<Measured, MeasureError> {
        if !name.contains("/lib/") {
            return Measured::file(name, Path::new(path));
        }
        if let Some(known) = self.libraries.get(path) {
            return Ok(known.clone());
        }
        let measured = Measured::file(name, Path::new(path))?;
        self.libraries.insert(path.to_owned(), measured.clone());
        Ok(measured)
    }

    fn start_vault(
        &mut self,
        phase: Phase,
        component: &Component,
        start: &Start,
    ) -> Result<(), Refusal> {
        let Told::Not(steps) = &mut self.vault else {
            return Err(Refusal::Manifest("a boot has one vault".into()));
        };
        let steps = std::mem::take(steps);
        let link = self.start(phase, component, start)?;
        let mut vault = Vault::new(link.ok_or_else(|| no_stage(phase))?);
        let begun = vault.begin(self.release_key.spki_der());
        let told = begun.and_then(|()| steps.into_iter().try_for_each(|step| vault.tell(step)));
        self.vault = Told::Vault(component.name.clone(), vault);
        self.agreed(told)
    }

    fn start(
        &mut self,
        phase: Phase,
        component: &Component,
        start: &Start,
    ) -> Result<Option<UnixStream>, Refusal> {
        let name = &component.name;
        let link = self.family.start(&self.files, name, start);
        let link = link.map_err(|error| Refusal::NotStarted {
            phase,
            component: name.clone(),
            why: error.to_string(),
        })?;
        eprintln!("phase {phase}: {name} runs");
        Ok(link)
    }

    fn tell(&mut self, step: VaultStep) -> Result<(), Refusal> {
        match &mut self.vault {
            Told::Not(steps) => {
                steps.push(step);
                Ok(())
            }
            Told::Vault(_, vault) => {
                let told = vault.tell(step);
                self.agreed(told)
            }
        }
    }

    /// A vault that does not answer is ended: what it makes of the step is not known.
    fn agreed(&mut self, told: Result<(), VaultError>) -> Result<(), Refusal> {
        if let (Err(VaultError::Away(_)), Told::Vault(name, _)) = (&told, &self.vault) {
            self.family.end(name);
        }
        Ok(told?)
    }

    /// Everything that was started is ready: the versions count from now on.
    pub(super) fn booted(&mut self) -> Result<(), Refusal> {
        self.tell(VaultStep::Booted)
    }

    /// Stops the boot: no step is taken any more, and the vault opens nothing that was not open yet.
    pub(super) fn stop(&mut self, refusal: &Refusal) {
        self.sequence.fail(refusal);
        if let Told::Vault(_, vault) = &mut self.vault {
            let told = vault.stop(refusal.clone());
            if let Err(error) = self.agreed(told) {
                eprintln!(
                    "the vault is told when it is started again that the boot is stopped: {error}"
                );
            }
        }
    }

    /// Starts again what ends, for ever; returns only when nothing is left to be waited for.
    pub fn watch(&mut self, mut status: impl FnMut(&str)) -> io::Result<()> {
        while let Some(happened) = self.family.wait()? {
            match happened {
                Happened::Due(name) => match self.family.start_again(&self.files, &name) {
                    Ok(link) => self.introduce(&name, link),
                    Err(error) => eprintln!("{name} was not started again: {error}"),
                },
                Happened::Serves(name) => {
                    eprintln!("{name} serves again");
                    status(&format!("{name} serves again"));
                }
            }
        }
        Ok(())
    }

    /// A vault that was started again is told of the boot.
    fn introduce(&mut self, name: &str, link: Option<UnixStream>) {
        if let (Told::Vault(vault_name, vault), Some(link)) = (&mut self.vault, link)
            && name == vault_name
            && let Err(error) = vault.tell_again(link)
        {
            eprintln!("{name} does not take the boot up, and is started once more: {error}");
            self.family.end(name);
        }
    }
}

pub(super) fn no_stage(phase: Phase) -> Refusal {
    Refusal::Manifest(format!(
        "the release starts no stage of the coordinator at the end of phase {phase}"
    ))
}
