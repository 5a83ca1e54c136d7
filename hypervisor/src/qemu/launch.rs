//! A launch record made ready: its files opened and hashed, and the measurement over them.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bartizan_attestation::digest;
use bartizan_attestation::launch::{Boot, LaunchMeasurementInput, LaunchRecord};
use bartizan_attestation::measurement::{Digest, HashAlgorithm};

use super::accelerator::tsc_khz;
use super::command_line::{
    BootArguments, DiskArguments, kernel_command_line, measured_command_line,
};
use super::files::{FileError, Hashed, read_only_disk, sealed_copy, writable_disk};

/// The descriptors that a guest starts from, and what was measured of them.
#[derive(Debug)]
pub struct Prepared {
    boot: PreparedBoot,
    disks: Vec<(OwnedFd, bool)>,
    /// The bzImage for introspection, where one is known.
    introspected_kernel: Option<OwnedFd>,
    /// SHA-384 over [`LaunchMeasurementInput`].
    pub measurement: Digest,
}

#[derive(Debug)]
enum PreparedBoot {
    Kernel {
        image: OwnedFd,
        initrd: Option<OwnedFd>,
        command_line: String,
    },
    Firmware {
        image: OwnedFd,
    },
}

impl Prepared {
    /// Opens, hashes and compares every file of `record`, whose bytes as signed are `yaml`.
    pub fn new(record: &LaunchRecord, yaml: &str) -> Result<Self, FileError> {
        let mut input = LaunchMeasurementInput {
            record: digest::hash(HashAlgorithm::Sha384, yaml.as_bytes()),
            image: Digest(Vec::new()),
            initrd: None,
            command_line: None,
            disks: Vec::new(),
        };
        let (boot, introspected_kernel) = prepare_boot(record, &mut input)?;
        let mut disks = Vec::new();
        for disk in &record.disks {
            if disk.readonly {
                let hashed =
                    read_only_disk(&disk.path, disk.sha384.as_deref().unwrap_or_default())?;
                input.disks.push(Some(hashed.digest));
                disks.push((hashed.file, true));
            } else {
                input.disks.push(None);
                disks.push((writable_disk(&disk.path)?, false));
            }
        }
        Ok(Self {
            boot,
            disks,
            introspected_kernel,
            measurement: input.measure(),
        })
    }

    /// What boots, for QEMU's command line.
    #[must_use]
    pub fn boot_arguments(&self) -> BootArguments<'_> {
        match &self.boot {
            PreparedBoot::Kernel {
                image,
                initrd,
                command_line,
            } => BootArguments::Kernel {
                image: image.as_raw_fd(),
                initrd: initrd.as_ref().map(AsRawFd::as_raw_fd),
                command_line,
            },
            PreparedBoot::Firmware { image } => BootArguments::Firmware {
                image: image.as_raw_fd(),
            },
        }
    }

    /// The disks, for QEMU's command line.
    #[must_use]
    pub fn disk_arguments(&self) -> Vec<DiskArguments> {
        let argument = |(file, readonly): &(OwnedFd, bool)| DiskArguments {
            file: file.as_raw_fd(),
            readonly: *readonly,
        };
        self.disks.iter().map(argument).collect()
    }

    /// Every descriptor that QEMU must inherit for [`Prepared::boot_arguments`] and
    /// [`Prepared::disk_arguments`].
    #[must_use]
    pub fn descriptors(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        let boot = match &self.boot {
            PreparedBoot::Kernel { image, initrd, .. } => vec![Some(image), initrd.as_ref()],
            PreparedBoot::Firmware { image } => vec![Some(image)],
        };
        let disks = self.disks.iter().map(|(file, _)| file);
        boot.into_iter()
            .flatten()
            .chain(disks)
            .map(AsFd::as_fd)
            .collect()
    }

    /// The bzImage that the measurer reads the kernel's profile from.
    #[must_use]
    pub fn kernel_image(&self) -> Option<&OwnedFd> {
        match &self.boot {
            PreparedBoot::Kernel { image, .. } => Some(image),
            PreparedBoot::Firmware { .. } => self.introspected_kernel.as_ref(),
        }
    }
}

fn prepare_boot(
    record: &LaunchRecord,
    input: &mut LaunchMeasurementInput,
) -> Result<(PreparedBoot, Option<OwnedFd>), FileError> {
    match &record.boot {
        Boot::Kernel {
            image,
            initrd,
            command_line,
        } => {
            let image = sealed_copy(&image.path, &image.sha384)?;
            let initrd = match initrd {
                Some(file) => Some(sealed_copy(&file.path, &file.sha384)?),
                None => None,
            };
            let measured =
                measured_command_line(command_line, &record.fleet_ca_sha256, record.machine);
            let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
            let command_line = kernel_command_line(&measured, record.machine, tsc_khz(&cpuinfo));
            input.image = image.digest;
            input.command_line = Some(measured);
            let initrd = initrd.map(|Hashed { file, digest }| {
                input.initrd = Some(digest);
                file
            });
            Ok((
                PreparedBoot::Kernel {
                    image: image.file,
                    initrd,
                    command_line,
                },
                None,
            ))
        }
        Boot::Firmware {
            image,
            introspected_kernel,
        } => {
            let image = sealed_copy(&image.path, &image.sha384)?;
            input.image = image.digest;
            let kernel = match introspected_kernel {
                Some(file) => Some(sealed_copy(&file.path, &file.sha384)?.file),
                None => None,
            };
            Ok((PreparedBoot::Firmware { image: image.file }, kernel))
        }
    }
}

#[cfg(test)]
mod tests;
