//! Which pages of the guest's RAM are written while it runs, in guest-physical addresses.

mod ram_file;

use std::os::fd::OwnedFd;

use bartizan_attestation::host::{MeasurerContext, RamMapping, RamRange};
use bartizan_write_tracking::{
    Armed, FileRange, Log, LogError, Mapped, Mappings, OverlapError, Pagemap, TrackError, Tracker,
    Userfault,
};

use crate::extents::Extent;
use ram_file::RamFile;

/// What the supervisor passes where writes can be tracked.
#[derive(Debug)]
pub struct TrackingInputs {
    /// `/proc/PID/pagemap` of QEMU.
    pub page_map: OwnedFd,
    /// The log of what device back ends write: a memfd, sealed.
    pub log: OwnedFd,
    /// QEMU's userfaultfd, whose features are enabled.
    pub userfault: OwnedFd,
}

/// Writes cannot be tracked: what the supervisor passed does not fit together, or the kernel lacks something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrackingError {
    /// A mapping is not of whole pages.
    #[error("the supervisor names a mapping of no whole pages: {0:?}")]
    NotWhole(RamMapping),
    /// Mappings contradict one another.
    #[error(transparent)]
    Overlap(#[from] OverlapError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The kernel lacks something.
    #[error(transparent)]
    Track(#[from] TrackError),
}

/// Where writes can be tracked.
pub(crate) trait Track {
    /// While they are.
    type Armed<'a>: Rounds
    where
        Self: 'a;

    /// From now on writes to `extents`, which are whole pages of RAM, are tracked, until what this gives is dropped.
    fn arm(&mut self, extents: &[Extent]) -> Result<Self::Armed<'_>, TrackError>;
}

/// Tells what was written: pages that were armed, and perhaps others.
pub(crate) trait Rounds {
    /// What was written since it was told last, or armed; what `each` does with it comes after it is tracked anew.
    fn written(&mut self, each: &mut dyn FnMut(Extent)) -> Result<(), TrackError>;

    /// The last time, while nobody writes.
    fn cut(&mut self, each: &mut dyn FnMut(Extent)) -> Result<(), TrackError>;
}

/// This guest's.
#[derive(Debug)]
pub(crate) struct Tracking {
    tracker: Tracker,
    file: RamFile,
}

impl Tracking {
    /// Maps the log, and tries the page map.
    pub(crate) fn new(
        inputs: TrackingInputs,
        context: &MeasurerContext,
        mapped: &[RamMapping],
    ) -> Result<Self, TrackingError> {
        let mapped: Result<_, _> = mapped
            .iter()
            .map(|mapping| {
                let RamMapping {
                    address,
                    size,
                    file_offset,
                } = *mapping;
                Mapped::new(address, size, file_offset).ok_or(TrackingError::NotWhole(*mapping))
            })
            .collect();
        let log = Log::map(inputs.log, file_size(&context.ram))?;
        Ok(Self {
            tracker: Tracker::new(
                Userfault::from(inputs.userfault),
                Pagemap::new(inputs.page_map)?,
                Mappings::new(mapped?)?,
                vec![log],
            ),
            file: RamFile::new(&context.ram),
        })
    }
}

/// The size of the RAM file, which ends where its last range does.
fn file_size(ranges: &[RamRange]) -> u64 {
    let ends = ranges
        .iter()
        .map(|range| range.file_offset.saturating_add(range.size));
    ends.max().unwrap_or_default()
}

impl Track for Tracking {
    type Armed<'a> = ArmedRam<'a>;

    fn arm(&mut self, extents: &[Extent]) -> Result<ArmedRam<'_>, TrackError> {
        let Self { tracker, file } = self;
        let ranges: Vec<FileRange> = extents
            .iter()
            .flat_map(|extent| file.ranges(*extent))
            .collect();
        Ok(ArmedRam {
            armed: tracker.arm(&ranges)?,
            file,
        })
    }
}

/// Some of this guest's RAM.
pub(crate) struct ArmedRam<'a> {
    armed: Armed<'a>,
    file: &'a RamFile,
}

impl Rounds for ArmedRam<'_> {
    fn written(&mut self, each: &mut dyn FnMut(Extent)) -> Result<(), TrackError> {
        let Self { armed, file } = self;
        armed.written(|range| file.extents(range).for_each(&mut *each))
    }

    fn cut(&mut self, each: &mut dyn FnMut(Extent)) -> Result<(), TrackError> {
        let Self { armed, file } = self;
        armed.cut(|range| file.extents(range).for_each(&mut *each))
    }
}
