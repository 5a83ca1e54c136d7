//! A guest played by a thread of this process: it maps RAM as a QEMU does, and writes to it all the time.
#![expect(
    unsafe_code,
    reason = "maps memory, and writes it while others read it"
)]

use std::fs::File;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bartizan_attestation::host::RamRange;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::ram::HIGH;
use crate::supervisor::Machine;

const PAGE: u64 = 4096;

/// RAM of which one half is above the PCI hole, mapped.
pub(crate) struct Memory {
    pub(crate) file: File,
    pub(crate) ranges: Vec<RamRange>,
    start: NonNull<u8>,
    size: u64,
}

// SAFETY: the mapping is only accessed by volatile writes, and belongs to no thread.
unsafe impl Send for Memory {}
// SAFETY: as above; what several threads write at once is any of it.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new(size: u64) -> Self {
        let memfd = memfd_create("ram", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&memfd, size).unwrap();
        fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        let (none, prot) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
        let length = usize::try_from(size).unwrap();
        // SAFETY: a null hint lets the kernel choose free addresses: no memory of ours is replaced.
        let start = unsafe { mmap(none, length, prot, MapFlags::SHARED, &memfd, 0) }.unwrap();
        let range = |address, file_offset| RamRange {
            address,
            size: size / 2,
            file_offset,
        };
        Self {
            file: memfd.into(),
            ranges: vec![range(0, 0), range(HIGH, size / 2)],
            start: NonNull::new(start.cast()).unwrap(),
            size,
        }
    }

    pub(crate) const fn pages(&self) -> u64 {
        self.size / PAGE
    }

    /// Writes eight bytes of a page of the file.
    pub(crate) fn write(&self, page: u64, word: u64, value: u64) {
        assert!(page < self.pages() && word < 512);
        let offset = usize::try_from(page * PAGE + word * 8).unwrap();
        // SAFETY: it is within the mapping, and aligned.
        unsafe { self.start.add(offset).cast::<u64>().write_volatile(value) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        unsafe {
            munmap(
                self.start.as_ptr().cast(),
                usize::try_from(self.size).unwrap(),
            )
        }
        .unwrap();
    }
}

/// The thread, which can be stopped.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    memory: Arc<Memory>,
    /// Held while it writes.
    turn: Mutex<()>,
    wanted: AtomicBool,
    ended: AtomicBool,
    /// How often it wrote.
    written: AtomicU64,
}

/// How it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Habit {
    /// To any place of some pages, of which it takes others again and again.
    Here,
    /// To every page, as fast as it can.
    Everywhere,
}

impl Writer {
    pub(crate) fn start(memory: &Arc<Memory>, habit: Habit) -> Self {
        let shared = Arc::new(Shared {
            memory: Arc::clone(memory),
            turn: Mutex::default(),
            wanted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            written: AtomicU64::new(0),
        });
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.write(habit)
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Waits until it has written anew.
    pub(crate) fn goes_on(&self) {
        let before = self.shared.written.load(Ordering::Relaxed);
        while self.shared.written.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
    }
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, habit: Habit) {
        // Marsaglia's xorshift: spread, and the same in each run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let (pages, mut value) = (self.memory.pages(), 0);
        while !self.ended.load(Ordering::Relaxed) {
            let turn = self.turn();
            if self.wanted.load(Ordering::Relaxed) {
                drop(turn);
                thread::yield_now();
                continue;
            }
            let (first, some) = match habit {
                Habit::Here => (below(pages - 16), 16),
                Habit::Everywhere => (0, pages),
            };
            for index in 0..some.max(64) {
                value += 1;
                let page = match habit {
                    Habit::Here => first + below(some),
                    Habit::Everywhere => index,
                };
                self.memory.write(page, below(512), value);
            }
            self.written.fetch_add(1, Ordering::Relaxed);
            drop(turn);
            match habit {
                // Its pace: some 8,000 pages a second at most.
                Habit::Here => thread::sleep(Duration::from_millis(2)),
                Habit::Everywhere => thread::yield_now(),
            }
        }
    }
}

impl Machine for Writer {
    fn stop(&mut self) {
        self.shared.wanted.store(true, Ordering::Relaxed);
        // Who has the turn after that writes nothing.
        drop(self.shared.turn());
    }

    fn resume(&mut self) {
        self.shared.wanted.store(false, Ordering::Relaxed);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
