//! The way to the TPM, opened anew when it is lost.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bartizan_attestation::keys::Purpose;
use tss_esapi::constants::StartupType;
use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind};
use tss_esapi::tcti_ldr::{DeviceConfig, NetworkTPMConfig};
use tss_esapi::{Context, Error, TctiNameConf};

use super::leftovers;
use super::ready::Ready;
use crate::backend::{BackendError, Device, DeviceError};
use crate::config::Tcti;

pub(super) struct Connection {
    tcti: Tcti,
    way: Mutex<Option<Way>>,
}

/// An open way to the TPM, and what is ready there.
pub(super) struct Way {
    pub(super) context: Context,
    pub(super) ready: Ready,
}

impl Connection {
    pub(super) const fn new(tcti: Tcti) -> Self {
        let way = Mutex::new(None);
        Self { tcti, way }
    }

    /// Does `work` with the TPM. Where the way to it turns out to be lost, once more over a new one.
    pub(super) fn run<T>(
        &self,
        mut work: impl FnMut(&mut Context) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        self.run_over(|way| work(&mut way.context))
    }

    /// The same, with what is ready there.
    pub(super) fn run_over<T>(
        &self,
        mut work: impl FnMut(&mut Way) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut state = self.lock();
        if let Some(way) = state.as_mut() {
            match work(way) {
                Err(error) if is_full(&error) => {
                    tracing::warn!(%error, "what is left loaded in the TPM is flushed");
                    way.ready.flush(&mut way.context);
                    leftovers::flush(&mut way.context);
                    return work(way).map_err(away);
                }
                Err(error) if is_lost(&error) => {
                    tracing::warn!(%error, "the TPM is connected to anew");
                    // Before the next: a TPM without a resource manager has one user at a time.
                    *state = None;
                }
                done => return done,
            }
        }
        self.over_new(&mut state, work)
    }

    /// Does `work`, which must not be done twice. The way is looked at first.
    pub(super) fn run_once<T>(
        &self,
        work: impl FnOnce(&mut Context) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let mut state = self.lock();
        if let Some(way) = state.as_mut() {
            match way.context.get_random(1) {
                Ok(_) => {}
                Err(_) => *state = None,
            }
        }
        match state.as_mut() {
            Some(way) => work(&mut way.context).map_err(away),
            None => self.over_new(&mut state, |way| work(&mut way.context)),
        }
    }

    /// Leaves nothing of a key in the TPM.
    pub(super) fn forget(&self, purpose: Purpose, id: &[u8; 32]) {
        if let Some(way) = self.lock().as_mut() {
            way.ready.forget(&mut way.context, purpose, id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Way>> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over_new<T>(
        &self,
        state: &mut Option<Way>,
        work: impl FnOnce(&mut Way) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let opened = Way {
            context: self.connect().map_err(|source| away(source.into()))?,
            ready: Ready::default(),
        };
        let done = work(state.insert(opened));
        if done.as_ref().is_err_and(is_lost) {
            *state = None;
        }
        done.map_err(away)
    }

    fn connect(&self) -> Result<Context, Error> {
        let mut context = Context::new(self.name()?)?;
        // The kernel starts a TPM of its own; a simulator that was started anew waits to be.
        match context.get_random(1) {
            Err(error) if kind(&error) == Some(Tss2ResponseCodeKind::Initialize) => {
                context.startup(StartupType::Clear)?;
            }
            answered => drop(answered?),
        }
        Ok(context)
    }

    fn name(&self) -> Result<TctiNameConf, Error> {
        Ok(match &self.tcti {
            Tcti::Device(path) => {
                let path = path.to_str().unwrap_or_default();
                TctiNameConf::Device(path.parse::<DeviceConfig>()?)
            }
            Tcti::Swtpm { host, port } => {
                let text = format!("host={host},port={port}");
                TctiNameConf::Swtpm(text.parse::<NetworkTPMConfig>()?)
            }
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("tcti", &self.tcti)
            .finish_non_exhaustive()
    }
}

/// Whether a new connection might help. Answers about a command's parameters, handles and sessions (format one of TPM
/// 2.0 Library part 2 section 6.6.2) are the TPM's own and stay what they are; all others may come from the way to it, or
/// from one that was started anew.
fn is_lost(error: &BackendError) -> bool {
    let BackendError::Refused {
        source: DeviceError::Tpm(Error::Tss2Error(code)),
        ..
    } = error
    else {
        return false;
    };
    matches!(code, Tss2ResponseCode::FormatZero(_))
}

/// Whether the TPM has no room left.
fn is_full(error: &BackendError) -> bool {
    let BackendError::Refused {
        source: DeviceError::Tpm(error),
        ..
    } = error
    else {
        return false;
    };
    matches!(
        kind(error),
        Some(
            Tss2ResponseCodeKind::ObjectMemory
                | Tss2ResponseCodeKind::ObjectHandles
                | Tss2ResponseCodeKind::SessionMemory
                | Tss2ResponseCodeKind::SessionHandles
                | Tss2ResponseCodeKind::Memory
        )
    )
}

fn away(error: BackendError) -> BackendError {
    if !is_lost(&error) {
        return error;
    }
    match error {
        BackendError::Refused { source, .. } => BackendError::Away {
            device: Device::Tpm,
            source,
        },
        error => error,
    }
}

fn kind(error: &Error) -> Option<Tss2ResponseCodeKind> {
    match error {
        Error::Tss2Error(code) => code.kind(),
        Error::WrapperError(_) => None,
    }
}
