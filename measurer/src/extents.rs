//! Where the bytes to be measured lie in guest-physical memory.

use bartizan_attestation::measurement::{PAGE_SIZE, Refusal, Region};
use bartizan_guest_memory::walk::{Root, WalkError, translate};
use bartizan_guest_memory::{Gpa, GuestRam, Gva};
use bartizan_introspection::process::Process;

/// Most absent pages that a refusal names.
const MAX_NAMED: usize = 64;

/// A contiguous piece of guest RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) at: Gpa,
    pub(crate) size: u64,
}

/// The extents of physical regions: the regions themselves, once they are known to be RAM.
pub(crate) fn physical(ram: &GuestRam, regions: &[Region]) -> Result<Vec<Extent>, Refusal> {
    regions
        .iter()
        .map(|region| {
            ram.check_ram(Gpa(region.address), region.size)
                .map_err(|not_ram| Refusal::NotRam {
                    address: not_ram.at.0,
                })?;
            Ok(Extent {
                at: Gpa(region.address),
                size: region.size,
            })
        })
        .collect()
}

/// The extents of a process's virtual regions, by its page tables as they are now.
pub(crate) fn of_process(
    ram: &GuestRam,
    process: &Process,
    regions: &[Region],
) -> Result<Vec<Extent>, Refusal> {
    let mut walk = Walk {
        ram,
        pid: process.pid,
        extents: Vec::new(),
        absent: Absent::default(),
    };
    for region in regions {
        walk.refuse_unmapped(process, *region)?;
        walk.region(process.root, *region)?;
    }
    walk.finish()
}

struct Walk<'a> {
    ram: &'a GuestRam,
    pid: u32,
    extents: Vec<Extent>,
    absent: Absent,
}

#[derive(Default)]
struct Absent {
    count: u64,
    first: Vec<u64>,
}

impl Walk<'_> {
    fn refuse_unmapped(&self, process: &Process, region: Region) -> Result<(), Refusal> {
        match process.first_unmapped(region.address..region.address.saturating_add(region.size)) {
            Some(Gva(address)) => Err(Refusal::Unmapped {
                pid: self.pid,
                address,
            }),
            None => Ok(()),
        }
    }

    fn region(&mut self, root: Root, region: Region) -> Result<(), Refusal> {
        let mut done = 0;
        while done < region.size {
            let at = Gva(region.address.saturating_add(done));
            done += match translate(self.ram, root, at) {
                Ok(translation) => {
                    let size = translation.bytes_left().min(region.size - done);
                    self.present(translation.gpa, size)?;
                    size
                }
                Err(WalkError::NotPresent { .. }) => {
                    self.absent.add(at);
                    PAGE_SIZE
                }
                Err(WalkError::NotCanonical { .. }) => {
                    return Err(Refusal::Unmapped {
                        pid: self.pid,
                        address: at.0,
                    });
                }
                Err(error @ (WalkError::Reserved { .. } | WalkError::TableNotRam { .. })) => {
                    return Err(Refusal::InconsistentMemory(error.to_string()));
                }
            };
        }
        Ok(())
    }

    fn present(&mut self, at: Gpa, size: u64) -> Result<(), Refusal> {
        self.ram
            .check_ram(at, size)
            .map_err(|not_ram| Refusal::NotRam {
                address: not_ram.at.0,
            })?;
        match self.extents.last_mut() {
            Some(last) if last.at.checked_add(last.size) == Some(at) => last.size += size,
            _ => self.extents.push(Extent { at, size }),
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Extent>, Refusal> {
        match self.absent {
            Absent { count: 0, .. } => Ok(self.extents),
            Absent {
                count,
                first: addresses,
            } => Err(Refusal::NotResident {
                pid: self.pid,
                count,
                addresses,
            }),
        }
    }
}

impl Absent {
    fn add(&mut self, Gva(address): Gva) {
        self.count += 1;
        if self.first.len() < MAX_NAMED {
            self.first.push(address);
        }
    }
}
