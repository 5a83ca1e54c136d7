//! A guest's RAM, mapped read-only from the file that backs it.

mod mapping;
mod range;
#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::AsFd;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::Errno;

use crate::address::Gpa;
use crate::physical::{NotRam, PhysicalMemory, RamSpan};
use mapping::Mapping;

pub use range::{MapRamError, RamRange};

/// All RAM of a guest, mapped read-only.
///
/// The guest writes to it at the same time, so that it is only ever copied out.
pub struct GuestRam {
    /// Ascending by address, without overlap, never empty.
    pieces: Vec<Piece>,
}

struct Piece {
    start: u64,
    mapping: Mapping,
}

impl GuestRam {
    /// Maps `ranges` of `file`; the file descriptor may be closed afterwards.
    ///
    /// # Errors
    ///
    /// [`MapRamError`] for a file that may be truncated later or is too small, and for ranges that are empty,
    /// unaligned, out of order or overlapping.
    pub fn map(file: impl AsFd, ranges: &[RamRange]) -> Result<Self, MapRamError> {
        let file = file.as_fd();
        let system = |doing| move |errno| MapRamError::System { doing, errno };
        let seals = match fcntl_get_seals(file) {
            // What has no seals at all is no memfd.
            Err(Errno::INVAL) => return Err(MapRamError::NotSealed),
            other => other.map_err(system("read the seals of"))?,
        };
        if !seals.contains(SealFlags::SHRINK) {
            return Err(MapRamError::NotSealed);
        }
        let file_size = fstat(file).map_err(system("stat"))?.st_size.cast_unsigned();
        range::check(ranges, file_size)?;
        let pieces = ranges
            .iter()
            .map(|range| {
                let mapping = Mapping::new(file, range.file_offset, range.size)?;
                Ok(Piece {
                    start: range.address.0,
                    mapping,
                })
            })
            .collect::<Result<_, Errno>>()
            .map_err(system("map"))?;
        Ok(Self { pieces })
    }

    /// Fills `into` from `at` on, or leaves it as it is.
    ///
    /// # Errors
    ///
    /// [`NotRam`] where any byte is outside RAM, before anything is copied.
    pub fn copy_pages(&self, at: Gpa, into: &mut [u8]) -> Result<(), NotRam> {
        self.check_ram(at, into.len() as u64)?;
        self.read(at, into)
    }

    /// Refuses `at..at + size` unless all of it is RAM.
    ///
    /// # Errors
    ///
    /// [`NotRam`] with the first address that is not.
    pub fn check_ram(&self, at: Gpa, size: u64) -> Result<(), NotRam> {
        let mut done = 0;
        while done < size {
            let here = at.checked_add(done).ok_or(NotRam { at })?;
            let (piece, inside) = self.piece(here)?;
            done += (piece.mapping.size() - inside).min(size - done);
        }
        Ok(())
    }

    /// The piece around `at`, and how far into it that is.
    fn piece(&self, at: Gpa) -> Result<(&Piece, u64), NotRam> {
        let behind = self.pieces.partition_point(|piece| piece.start <= at.0);
        let piece = behind
            .checked_sub(1)
            .and_then(|index| self.pieces.get(index))
            .ok_or(NotRam { at })?;
        let inside = at.0 - piece.start;
        if inside >= piece.mapping.size() {
            return Err(NotRam { at });
        }
        Ok((piece, inside))
    }
}

impl PhysicalMemory for GuestRam {
    fn read(&self, at: Gpa, buf: &mut [u8]) -> Result<(), NotRam> {
        let mut next = at;
        let mut rest = buf;
        while !rest.is_empty() {
            let (piece, inside) = self.piece(next)?;
            let here = usize::try_from(piece.mapping.size() - inside)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (now, later) = rest.split_at_mut(here);
            piece.mapping.copy_out(inside, now);
            rest = later;
            if !rest.is_empty() {
                next = next.checked_add(here as u64).ok_or(NotRam { at: next })?;
            }
        }
        Ok(())
    }

    fn spans(&self) -> Vec<RamSpan> {
        self.pieces
            .iter()
            .map(|piece| RamSpan {
                start: Gpa(piece.start),
                size: piece.mapping.size(),
            })
            .collect()
    }
}

impl fmt::Debug for GuestRam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuestRam").field(&self.spans()).finish()
    }
}
