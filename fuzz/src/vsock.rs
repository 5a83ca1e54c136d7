//! A guest's RAM with the rings of a vsock device, and a service of the host behind a socket.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, LazyLock};

use bartizan_devices::vhost_user::{Backend, Memory, Ram, Region, Ring};
use bartizan_devices::vsock::offer;
use rustix::event::epoll;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create};
use vm_memory::GuestAddress;

/// Size of a guest's RAM in bytes.
pub const RAM: usize = 0x8000;
/// The guest's CID.
pub const GUEST: u32 = 42;
/// Descriptors in a ring.
pub const RING: u16 = 16;
/// Where the parts of a ring stand behind its start: descriptors, available ring, used ring.
pub const PARTS: [u64; 3] = [0, 0x100, 0x140];
/// Where the ring of packets of the guest starts; the other one starts at 0.
pub const TX: u64 = 0x200;

/// The one service of the host.
pub static SERVICE: LazyLock<Listener> = LazyLock::new(Listener::new);

/// The ring at 0, which runs.
///
/// # Panics
///
/// Never: the ring is placed well.
#[must_use]
pub fn ring(ram: &Memory, epoll: &OwnedFd) -> Ring {
    let mut ring = Ring::new().expect("a power of two");
    place(&mut ring, ram, 0, epoll);
    ring
}

/// A device that is set up over RAM with these bytes.
///
/// # Panics
///
/// Where the machine has no memory or descriptors left.
#[must_use]
pub fn backend(bytes: &[u8], epoll: &Arc<OwnedFd>) -> Backend {
    let mut backend = Backend::new(offer(GUEST), Arc::clone(epoll), 0).expect("a device");
    backend.ram = ram(bytes);
    for pair in &mut backend.pairs {
        place(&mut pair.rx, &backend.ram.memory, 0, epoll);
        place(&mut pair.tx, &backend.ram.memory, TX, epoll);
    }
    backend
}

/// A watch over nothing.
///
/// # Panics
///
/// Where the machine has no descriptors left.
#[must_use]
pub fn epoll() -> Arc<OwnedFd> {
    Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor"))
}

/// A file in memory.
///
/// # Panics
///
/// Where the machine has no memory or descriptors left.
#[must_use]
pub fn memfd(bytes: &[u8]) -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("fuzz", flags).expect("a descriptor"));
    file.write_all(bytes).expect("memory");
    file
}

fn ram(bytes: &[u8]) -> Ram {
    let file = memfd(bytes.get(..RAM).unwrap_or(bytes));
    let size = RAM as u64;
    file.set_len(size).expect("memory");
    fcntl_add_seals(&file, SealFlags::SHRINK).expect("it may be sealed");
    let region = Region {
        guest: 0,
        size,
        user: 0,
        offset: 0,
    };
    Ram::map([(region, file)]).expect("RAM")
}

fn place(ring: &mut Ring, ram: &Memory, start: u64, epoll: &OwnedFd) {
    let [descriptors, available, used] = PARTS.map(|part| GuestAddress(start + part));
    ring.resize(RING.into()).expect("a power of two");
    ring.place(ram, descriptors, available, used)
        .expect("it is in RAM");
    ring.start(None, epoll, 0).expect("nothing to watch");
    ring.enable(true);
}

/// A listening socket without a name: it is reached through this process's descriptor of its former one, so that
/// no run leaves a file behind.
pub struct Listener {
    listener: UnixListener,
    place: OwnedFd,
}

impl Listener {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("fuzz-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a place for a socket");
        listener.set_nonblocking(true).expect("a socket");
        let place = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        std::fs::remove_file(&path).expect("it was just made");
        Self {
            listener,
            place: place.expect("it was just made"),
        }
    }

    /// Where it is reached.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.place.as_raw_fd())
    }

    /// The next connection, if there is one; neither side waits.
    pub fn accept(&self) -> Option<UnixStream> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }
}
