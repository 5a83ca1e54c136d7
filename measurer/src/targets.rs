//! From what is asked for to where its bytes lie, and what the report says of it.

use bartizan_attestation::measurement::{
    Mapping, MappingFlags, MeasurementRequest, Refusal, Region, ResolvedProcess, Target,
    TranslationBasis,
};
use bartizan_guest_memory::GuestRam;
use bartizan_guest_memory::walk::Root;
use bartizan_introspection::process::{self, Instance, Process, ProcessError, TaskAddress};

use crate::extents::{self, Extent};
use crate::guest_kernel::RunningKernel;
use crate::hidden_code;
use crate::request::check_size;
use crate::snapshot::Extents;
use crate::vdso;

/// The bits of `vm_flags` that a report carries.
const REPORTED_FLAGS: u64 =
    (MappingFlags::READ | MappingFlags::WRITE | MappingFlags::EXEC | MappingFlags::SHARED) as u64;

/// What a target stands for at one moment.
pub(crate) struct Resolved {
    pub(crate) regions: Vec<Region>,
    pub(crate) processes: Vec<ResolvedProcess>,
    pub(crate) translation: Option<TranslationBasis>,
    extents: Vec<Extent>,
}

impl Extents for Resolved {
    fn extents(&self) -> &[Extent] {
        &self.extents
    }
}

/// Resolves physical regions.
pub(crate) fn physical(ram: &GuestRam, regions: &[Region]) -> Result<Resolved, Refusal> {
    Ok(Resolved {
        regions: regions.to_vec(),
        processes: Vec::new(),
        translation: None,
        extents: extents::physical(ram, regions)?,
    })
}

/// Resolves a target in a process, again and again.
pub(crate) struct ProcessTarget<'a> {
    pub(crate) ram: &'a GuestRam,
    pub(crate) kernel: RunningKernel<'a>,
    pub(crate) request: &'a MeasurementRequest,
    pub(crate) pid: u32,
    pub(crate) allowed: u64,
    /// For virtual regions: found while the guest ran, so that a pause need not walk the task list.
    pub(crate) task: Option<TaskAddress>,
}

impl ProcessTarget<'_> {
    /// Resolves it as guest memory is now.
    pub(crate) fn resolve(&mut self) -> Result<Resolved, Refusal> {
        let processes = match &self.request.target {
            Target::Profile { .. } => self.instances(),
            _ => self.named().map(|process| vec![process]),
        };
        let processes = processes
            .inspect_err(|_| self.task = None)
            .map_err(|error| refusal(&error))?;
        let mut resolved = Resolved {
            regions: Vec::new(),
            processes: Vec::with_capacity(processes.len()),
            translation: processes.first().map(|process| self.basis(process.root)),
            extents: Vec::new(),
        };
        let mut tables = hidden_code::budget();
        for process in processes {
            let regions = self.regions(&process)?;
            let requested = (resolved.regions.iter().chain(&regions))
                .fold(0_u64, |sum, region| sum.saturating_add(region.size));
            // Before the search, which looks at each page of the executable mappings.
            check_size(requested, self.allowed)?;
            if let Target::Profile { .. } = &self.request.target {
                hidden_code::refuse(self.ram, &process, &mut tables)?;
            }
            let extents = extents::of_process(self.ram, &process, &regions)?;
            resolved.regions.extend(regions);
            resolved.extents.extend(extents);
            resolved.processes.push(self.described(process));
        }
        Ok(resolved)
    }

    /// The process that is named.
    fn named(&mut self) -> Result<Process, ProcessError> {
        let task = match self.task {
            Some(task) => task,
            None => process::find(&self.kernel, self.kernel.layout, self.pid)?,
        };
        self.task = Some(task);
        Process::read(&self.kernel, self.kernel.layout, task, self.pid)
    }

    /// The process that is named and all others of its program, looked for anew each time: one that was started
    /// since the last look counts.
    fn instances(&self) -> Result<Vec<Process>, ProcessError> {
        process::find_instances(&self.kernel, self.kernel.layout, self.pid)?
            .into_iter()
            .map(|Instance { pid, task }| {
                Process::read(&self.kernel, self.kernel.layout, task, pid)
            })
            .collect()
    }

    /// What is measured of a process.
    fn regions(&self, process: &Process) -> Result<Vec<Region>, Refusal> {
        match &self.request.target {
            Target::Virtual { regions, .. } => Ok(regions.clone()),
            _ if process.mappings.is_empty() => Err(Refusal::InconsistentMemory(format!(
                "process {} has no executable mapping",
                process.pid
            ))),
            _ => Ok(process
                .mappings
                .iter()
                .map(|mapping| region(&mapping.range))
                .collect()),
        }
    }

    fn basis(&self, root: Root) -> TranslationBasis {
        TranslationBasis {
            levels: root.levels.count(),
            kernel: self.kernel.image.clone(),
            banner: self.kernel.kernel.profile().banner().to_owned(),
        }
    }

    fn described(&self, process: Process) -> ResolvedProcess {
        ResolvedProcess {
            pid: process.pid,
            start_time_ns: process.start_time_ns,
            comm: process.comm,
            executable: process.executable,
            mappings: process
                .mappings
                .into_iter()
                .map(|mapping| self.mapping(mapping, process.root))
                .collect(),
        }
    }

    fn mapping(&self, mapping: process::Mapping, user: Root) -> Mapping {
        // INVARIANT: the four bits fit.
        let flags = u32::try_from(mapping.flags & REPORTED_FLAGS).unwrap_or_default();
        let kernel = &self.kernel.kernel;
        Mapping {
            region: region(&mapping.range),
            path: mapping.path,
            file_offset: mapping.file_offset,
            flags: MappingFlags(flags),
            special: mapping.special
                && vdso::is_the_kernels(kernel, self.ram, user, &mapping.range),
        }
    }
}

const fn region(range: &std::ops::Range<u64>) -> Region {
    Region {
        address: range.start,
        size: range.end - range.start,
    }
}

fn refusal(error: &ProcessError) -> Refusal {
    match error {
        &ProcessError::NotFound { pid } => Refusal::UnknownProcess { pid },
        &ProcessError::NoAddressSpace { pid } => Refusal::NoAddressSpace { pid },
        &ProcessError::TooManyInstances { pid, limit } => Refusal::TooManyProcesses {
            pid,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        },
        ProcessError::Symbol(_) => Refusal::KernelNotUnderstood(error.to_string()),
        ProcessError::Unreadable { .. }
        | ProcessError::Inconsistent { .. }
        | ProcessError::TooMany { .. } => Refusal::InconsistentMemory(error.to_string()),
    }
}
