//! The port policy of a guest: which services of the host it may reach.

use std::collections::BTreeMap;

use bartizan_local::admission::Service;
use rustix::net::SocketAddrUnix;

/// Most services of one guest.
const MAX_SERVICES: usize = 64;

/// The services that a guest may reach; every other port is reset.
#[derive(Clone, Debug, Default)]
pub struct Services(BTreeMap<u32, SocketAddrUnix>);

/// A list of services that cannot be served.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServicesError {
    /// Too many.
    #[error("{0} services exceed the limit of {MAX_SERVICES}; name fewer")]
    TooMany(usize),
    /// One port twice.
    #[error("port {0} is given twice; give each port once")]
    DuplicatePort(u32),
    /// Not an absolute path that fits into a socket address.
    #[error("`{0}` is no absolute path of at most 107 bytes; place the socket elsewhere")]
    BadPath(String),
}

impl Services {
    /// Checks a list of services.
    pub fn new(list: &[Service]) -> Result<Self, ServicesError> {
        if list.len() > MAX_SERVICES {
            return Err(ServicesError::TooMany(list.len()));
        }
        let mut services = BTreeMap::new();
        for Service { port, socket } in list {
            let bad = || ServicesError::BadPath(socket.clone());
            if !socket.starts_with('/') {
                return Err(bad());
            }
            let address = SocketAddrUnix::new(socket.as_str()).map_err(|_| bad())?;
            if services.insert(*port, address).is_some() {
                return Err(ServicesError::DuplicatePort(*port));
            }
        }
        Ok(Self(services))
    }

    /// Where connections to a port go.
    #[must_use]
    pub fn address(&self, port: u32) -> Option<&SocketAddrUnix> {
        self.0.get(&port)
    }
}
