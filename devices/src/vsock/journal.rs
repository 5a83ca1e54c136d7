//! A record of open connections that outlives this process.
//!
//! After a kill -9 the new process knows no connection, and a guest that only waits for an answer
//! would never send the packet that a reset could answer. The event queue, through which virtio
//! would announce a transport reset, is served by QEMU itself and out of reach. So the supervisor may
//! attach the device with a small memfd: each slot of the table has a record in it,
//! and a device that is attached with such records resets these connections first.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use super::packet::Ports;

/// A record: 1 and the ports while the connection is open, else zeros; little-endian words.
const RECORD: usize = 12;

/// The record of one guest's open connections.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Over a file that the supervisor keeps.
    #[must_use]
    pub fn new(file: OwnedFd) -> Self {
        Self(file.into())
    }

    /// The connections that a former process left open; forgets them. At most `limit`.
    pub(super) fn take_orphans(&self, limit: usize) -> io::Result<Vec<Ports>> {
        let mut bytes = vec![0; limit * RECORD];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        let orphans = bytes.chunks_exact(RECORD).filter_map(open_ports).collect();
        self.0.write_all_at(&vec![0; bytes.len()], 0)?;
        Ok(orphans)
    }

    pub(super) fn opened(&self, slot: usize, ports: Ports) -> io::Result<()> {
        let mut record = [0; RECORD];
        record[0] = 1;
        record[4..8].copy_from_slice(&ports.guest.to_le_bytes());
        record[8..12].copy_from_slice(&ports.host.to_le_bytes());
        self.0.write_all_at(&record, offset(slot))
    }

    pub(super) fn closed(&self, slot: usize) -> io::Result<()> {
        self.0.write_all_at(&[0; RECORD], offset(slot))
    }
}

fn offset(slot: usize) -> u64 {
    (slot * RECORD) as u64
}

fn open_ports(record: &[u8]) -> Option<Ports> {
    let &[1, 0, 0, 0, g0, g1, g2, g3, h0, h1, h2, h3] = record else {
        return None;
    };
    Some(Ports {
        guest: u32::from_le_bytes([g0, g1, g2, g3]),
        host: u32::from_le_bytes([h0, h1, h2, h3]),
    })
}
