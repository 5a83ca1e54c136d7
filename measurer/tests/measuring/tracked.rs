//! What a supervisor passes of a process whose writes are tracked: here this one, or a QEMU.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bartizan_attestation::host::RamMapping;
use bartizan_write_tracking::{
    AddressRange, Device, FileId, Log, Mapped, Mappings, Receiver, Userfault, userfault,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a process may take to send its userfaultfd.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Tracked {
    pub(crate) userfault: Userfault,
    pub(crate) page_map: File,
    pub(crate) log: OwnedFd,
    pub(crate) mapped: Vec<Mapped>,
}

pub(crate) fn device() -> Device {
    Device::open().expect(
        "/dev/userfaultfd can be opened: it takes a kernel with CONFIG_USERFAULTFD, and root",
    )
}

impl Tracked {
    /// This process, which maps `ram`.
    pub(crate) fn own(ram: &File) -> Self {
        let made = userfault::make(device()).unwrap();
        Self::of(std::process::id(), made, ram)
    }

    /// A process that was started with the handover.
    pub(crate) fn handed_over(pid: u32, by: &Receiver, ram: &File) -> Self {
        Self::of(pid, received(by), ram)
    }

    fn of(pid: u32, made: OwnedFd, ram: &File) -> Self {
        let userfault = Userfault::enable(made).expect("writes can be tracked: it takes Linux 6.7");
        let open = |file: &str| File::open(format!("/proc/{pid}/{file}")).unwrap();
        let mappings = Mappings::read(open("maps"), FileId::of(ram).unwrap()).unwrap();
        Self {
            userfault,
            page_map: open("pagemap"),
            log: Log::create(ram.metadata().unwrap().len()).unwrap(),
            mapped: mappings.as_slice().to_vec(),
        }
    }

    /// What the context says of it.
    pub(crate) fn mappings(&self) -> Vec<RamMapping> {
        self.mapped
            .iter()
            .map(|mapped| RamMapping {
                address: mapped.address().start(),
                size: mapped.address().size(),
                file_offset: mapped.file().offset(),
            })
            .collect()
    }

    /// As a supervisor does when a measurer has ended, whatever it left.
    pub(crate) fn release(&self) {
        for mapped in &self.mapped {
            self.userfault.release(mapped.address()).unwrap();
        }
    }

    /// How many pages of the process are protected, as /proc/PID/pagemap has it in bit 57.
    pub(crate) fn protected(&self) -> usize {
        let of = |range: AddressRange| {
            let mut entries = vec![0; usize::try_from(range.pages() * 8).unwrap()];
            let at = range.start() / 4096 * 8;
            std::os::unix::fs::FileExt::read_exact_at(&self.page_map, &mut entries, at).unwrap();
            let (entries, _) = entries.as_chunks::<8>();
            let protected = |entry: &&[u8; 8]| u64::from_le_bytes(**entry) >> 57 & 1 == 1;
            entries.iter().filter(protected).count()
        };
        self.mapped.iter().map(|mapped| of(mapped.address())).sum()
    }
}

fn received(by: &Receiver) -> OwnedFd {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match by.receive() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome.unwrap().expect("the library is preloaded"),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap();
        let ready = poll(&mut [PollFd::new(by, PollFlags::IN)], Some(&left)).unwrap();
        assert_eq!(ready, 1, "nothing arrives");
    }
}
