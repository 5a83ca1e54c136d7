//! The way to the token: sessions that are logged in, so that it can sign for several at once, opened anew when they are lost.
//!
//! A module may keep what it once knew of its tokens (SoftHSM does), so that opening anew means the whole module:
//! finalise, initialise, look for the token, log in. The library itself stays loaded, since a confined process loads none.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;

use super::pin::Pin;
use super::sessions::{Opened, Sessions};
use crate::backend::{BackendError, Device, DeviceError};

/// Which token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenName {
    /// The PKCS #11 module, a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// Its serial number, where several have the label.
    pub serial: Option<String>,
}

/// The token cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The module is no PKCS #11 library.
    #[error("PKCS #11 module {path} cannot be loaded: {source}", path = .path.display())]
    Module {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// The token is not there, or did not let us in.
    #[error("token `{label}`: {source}")]
    Token {
        /// Its label.
        label: String,
        /// Why.
        source: DeviceError,
    },
}

pub(super) struct Connection {
    module: Pkcs11,
    token: TokenName,
    pin: Pin,
    state: RwLock<State>,
    openings: AtomicU64,
}

enum State {
    Open(Sessions),
    Lost,
    /// The token refused the PIN: a few more tries would lock it for ever.
    Barred,
}

impl Connection {
    pub(super) fn open(token: TokenName, pin: Pin) -> Result<Self, OpenError> {
        let module = Pkcs11::new(&token.module).map_err(|source| OpenError::Module {
            path: token.module.clone(),
            source,
        })?;
        let label = token.label.clone();
        let connection = Self {
            module,
            token,
            pin,
            state: RwLock::new(State::Lost),
            openings: AtomicU64::new(0),
        };
        let sessions = (connection.initialise()).and_then(|()| connection.log_in());
        let sessions = sessions.map_err(|source| OpenError::Token { label, source })?;
        connection.set(State::Open(sessions));
        Ok(connection)
    }

    /// Does `work` in a session. Where that fails for want of a session or a token, once more in a new one.
    pub(super) fn run<T>(
        &self,
        mut work: impl FnMut(&Session) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        self.run_with_found(|opened| work(&opened.session))
    }

    /// The same, with the objects that were found in the session.
    pub(super) fn run_with_found<T>(
        &self,
        mut work: impl FnMut(&mut Opened) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let lost = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(sessions) => match work(&mut sessions.free()) {
                Err(error) if may_be_lost(&error) => {
                    tracing::warn!(%error, "the token's sessions are opened anew");
                    Some(sessions.opening)
                }
                done => return done,
            },
            State::Lost | State::Barred => None,
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let sessions = self.reopen(&mut state, lost).map_err(away)?;
        work(&mut sessions.free()).map_err(|error| match error {
            BackendError::Refused {
                source: DeviceError::Token(source),
                ..
            } if is_lost(&source) => away(source.into()),
            error => error,
        })
    }

    /// Opens all sessions anew, unless somebody did so since the opening whose sessions were lost.
    fn reopen<'s>(
        &self,
        state: &'s mut State,
        lost: Option<u64>,
    ) -> Result<&'s Sessions, DeviceError> {
        let is_new = |sessions: &Sessions| Some(sessions.opening) != lost;
        match state {
            State::Open(sessions) if is_new(sessions) => {}
            State::Barred => return Err(DeviceError::Pin),
            State::Open(_) | State::Lost => {
                *state = State::Lost;
                // It may not be initialised: after a failure, or since the library gave up itself.
                let _finalised = self.module.clone().finalize();
                self.initialise()?;
                match self.log_in() {
                    Ok(sessions) => *state = State::Open(sessions),
                    Err(DeviceError::Pin) => {
                        *state = State::Barred;
                        return Err(DeviceError::Pin);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        match state {
            State::Open(sessions) => Ok(sessions),
            State::Lost | State::Barred => Err(DeviceError::Answer),
        }
    }

    fn initialise(&self) -> Result<(), DeviceError> {
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match self.module.initialize(arguments) {
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            done => Ok(done?),
        }
    }

    fn log_in(&self) -> Result<Sessions, DeviceError> {
        let slot = self.slot()?;
        let first = self.module.open_rw_session(slot)?;
        match first.login(UserType::User, Some(self.pin.get())) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(Error::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked,
                _,
            )) => return Err(DeviceError::Pin),
            Err(error) => return Err(error.into()),
        }
        // All of a program's sessions with a token are logged in with the first (PKCS #11 3.0, section 5.6.8).
        let opening = self.openings.fetch_add(1, Ordering::Relaxed);
        let more = || self.module.open_rw_session(slot);
        Ok(Sessions::new(first, more, opening))
    }

    fn slot(&self) -> Result<Slot, DeviceError> {
        let mut found = Vec::new();
        for slot in self.module.get_slots_with_token()? {
            let token = self.module.get_token_info(slot)?;
            let serial = self.token.serial.as_deref();
            let right = serial.is_none_or(|serial| serial == token.serial_number().trim_end());
            if right && token.label().trim_end() == self.token.label {
                found.push(slot);
            }
        }
        match *found {
            [slot] => Ok(slot),
            _ => Err(DeviceError::Tokens { found: found.len() }),
        }
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.set(State::Lost);
        // Nothing is left to do where it fails.
        let _finalised = self.module.clone().finalize();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Whether a new session might help. A token that is gone may show itself by objects that are not found.
fn may_be_lost(error: &BackendError) -> bool {
    match error {
        BackendError::Refused {
            source: DeviceError::Token(source),
            ..
        } => {
            is_lost(source)
                || matches!(
                    source,
                    Error::Pkcs11(RvError::GeneralError | RvError::FunctionFailed, _)
                )
        }
        BackendError::Sealed { .. } | BackendError::StoreKey => true,
        _ => false,
    }
}

const fn is_lost(error: &Error) -> bool {
    let Error::Pkcs11(code, _) = error else {
        return false;
    };
    matches!(
        code,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::UserNotLoggedIn
            | RvError::CryptokiNotInitialized
            | RvError::SlotIdInvalid
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
    )
}

fn away(source: DeviceError) -> BackendError {
    BackendError::Away {
        device: Device::Token,
        source,
    }
}
