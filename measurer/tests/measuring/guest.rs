//! Processes of a real guest, compared with what the guest itself says of them in /proc.

mod live;

use std::path::PathBuf;
use std::time::Duration;

use bartizan_attestation::digest::{Hasher, hash};
use bartizan_attestation::host::Outcome;
use bartizan_attestation::measurement::{
    Digest, HashAlgorithm, Mapping, MappingFlags, PAGE_SIZE, Refusal, Region, Report, Target,
};

use crate::machine::{Vm, program};
use crate::signatures::{request, signed, verified};
use crate::supervisor::{Pauses, Supervisor};
use crate::symbols;

const BUDGET: u64 = 64 << 20;

#[test]
#[ignore = "boots a guest: set BARTIZAN_TEST_KERNEL to the path of Debian's vmlinuz (6.1 or later)"]
fn four_level_paging() {
    let kernel = kernel("BARTIZAN_TEST_KERNEL");
    Case::boot("four", kernel, "init.rs", "max,la57=off", "pti=off").check(4);
}

#[test]
#[ignore = "boots a guest: set BARTIZAN_TEST_KERNEL to the path of Debian's vmlinuz (6.1 or later)"]
fn five_level_paging_and_isolated_page_tables() {
    let kernel = kernel("BARTIZAN_TEST_KERNEL");
    Case::boot("five", kernel, "init.rs", "max", "pti=on").check(5);
}

#[test]
#[ignore = "boots a guest: set BARTIZAN_TEST_KERNEL_GENERIC to the path of vmlinuz of linux-image-amd64"]
fn generic_kernel() {
    let kernel = kernel("BARTIZAN_TEST_KERNEL_GENERIC");
    Case::boot("generic", kernel, "init.rs", "max", "").check(5);
}

#[test]
#[ignore = "boots a guest: set BARTIZAN_TEST_KERNEL_BACKPORTS to the path of vmlinuz of a newer linux-image-cloud-amd64"]
fn newer_kernel() {
    let kernel = kernel("BARTIZAN_TEST_KERNEL_BACKPORTS");
    // Kernels since 6.5 branch on what cmpxchg16b leaves in the flags, and QEMU before 8.0 leaves garbage there under
    // TCG (a helper that reads a stale CC_OP): an interrupt at that place is a double fault. Without the feature the
    // kernel uses a lock.
    Case::boot("newer", kernel, "init.rs", "max,la57=off,cx16=off", "").check(4);
}

#[test]
#[ignore = "boots a guest: set BARTIZAN_TEST_KERNEL to the path of Debian's vmlinuz (6.1 or later)"]
fn code_that_runs_and_is_in_no_mapping_is_refused() {
    let kernel = kernel("BARTIZAN_TEST_KERNEL");
    Case::boot(
        "hidden",
        kernel,
        "hidden.rs",
        "max",
        "transparent_hugepage=never",
    )
    .hidden_code_is_refused();
}

fn kernel(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap().into()
}

/// One for a guest's files, empty.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("measurer-{name}"));
    // Absent at the first run.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A booted guest, its measurer, and what the guest said on its console.
struct Case {
    kernel: PathBuf,
    vm: Vm,
    supervisor: Supervisor,
    said: Vec<String>,
    program: Vec<u8>,
}

/// How often a guest that is changing its page tables is asked again.
const ASKED_AGAIN: usize = 100;

impl Case {
    fn boot(name: &str, kernel: PathBuf, init: &str, cpu: &str, command_line: &str) -> Self {
        let folder = folder(name);
        let mut vm = Vm::boot(&folder, &kernel, init, cpu, command_line);
        // Before the kernel runs: as in earnest, the measurer looks for it while it boots.
        let mut supervisor = Supervisor::uncertified(&vm.ram, &vm.ranges, Some(&kernel), BUDGET);
        supervisor.certify(Duration::from_secs(600));
        let said = vm.until_ready();
        let program = std::fs::read(program(&folder)).unwrap();
        Self {
            kernel,
            vm,
            supervisor,
            said,
            program,
        }
    }

    fn check(mut self, levels: u8) {
        self.symbols_are_those_of_the_image();
        self.mappings_are_those_of_proc(levels);
        self.virtual_and_physical_agree();
        self.absence_is_refused_by_name();
        self.the_kernel_is_looked_for_where_it_was_found();
    }

    fn hidden_code_is_refused(mut self) {
        self.vm.until("HIDDEN");
        let refused = self.measure(Target::Profile { pid: 1 }).unwrap_err();
        let Refusal::InconsistentMemory(why) = refused else {
            panic!("{refused:?}")
        };
        let (tables, translations) = ("can execute the page at", "processors may still use");
        assert!(why.contains(tables) || why.contains(translations), "{why}");
        // It ran on meanwhile; once it is gone there is nothing to refuse.
        self.vm.until("HIDDEN");
        self.vm.until("GONE");
        // The guest runs on: what it lets go of at this moment is asked for again.
        let measured =
            (0..ASKED_AGAIN).find_map(|_| match self.measure(Target::Profile { pid: 1 }) {
                Err(Refusal::InconsistentMemory(_)) => None,
                other => Some(other),
            });
        measured.expect("the guest lets go for ever").unwrap();
    }

    fn measure(&mut self, target: Target) -> Result<Report, Refusal> {
        let held = &mut std::iter::repeat(Pauses::Held);
        match self
            .supervisor
            .measure_with(signed(&request(target)), held, &mut self.vm)
        {
            Outcome::Report(report) => Ok(verified(&report.message).0),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    /// The line that the guest printed after a word.
    fn line(&self, name: &str) -> &str {
        let mut lines = self.said.iter();
        let line = lines.find_map(|line| line.strip_prefix(name));
        line.unwrap().trim()
    }

    /// The numbers in it.
    fn words(&self, name: &str) -> Vec<u64> {
        self.line(name)
            .split_whitespace()
            .map(|word| u64::from_str_radix(word, 16).unwrap())
            .collect()
    }

    /// The guest's /proc/kallsyms, read from its RAM.
    fn symbols_are_those_of_the_image(&self) {
        const HUGE_PAGE: usize = 2 << 20;
        let words = self.words("SYMBOLS");
        let (size, pages) = words.split_first().unwrap();
        let mut kallsyms: Vec<u8> = pages
            .iter()
            .flat_map(|page| self.vm.read(*page, HUGE_PAGE))
            .collect();
        kallsyms.truncate(usize::try_from(*size).unwrap());
        let kallsyms = String::from_utf8(kallsyms).unwrap();
        symbols::are_those_of_the_image(&self.kernel, &kallsyms);
    }

    fn mappings_are_those_of_proc(&mut self, levels: u8) {
        let expected: Vec<Mapping> = self
            .said
            .iter()
            .filter_map(|line| executable(line))
            .collect();
        assert!(expected.len() > 40, "{expected:#?}");
        let report = self.measure(Target::Profile { pid: 1 }).unwrap();
        let [process] = report.processes.as_slice() else {
            panic!("{:?}", report.processes)
        };
        assert_eq!(process.mappings.len(), expected.len());
        for (found, expected) in process.mappings.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
        assert_eq!((process.pid, process.comm.as_str()), (1, "init"));
        assert_eq!(process.executable, "/init");
        assert!(process.start_time_ns > 0);
        let translation = report.translation.unwrap();
        assert_eq!(translation.levels, levels);
        assert_eq!(translation.banner.trim(), self.line("VERSION"));

        let regions: Vec<_> = report
            .regions
            .iter()
            .map(|measured| measured.region)
            .collect();
        assert_eq!(
            regions,
            expected
                .iter()
                .map(|mapping| mapping.region)
                .collect::<Vec<_>>()
        );
        // What is mapped from a file is, in RAM, what the file holds.
        let mut from_files = 0;
        for (mapping, measured) in expected.iter().zip(&report.regions) {
            let Some(path) = &mapping.path else { continue };
            if path.contains("memfd") {
                continue;
            }
            assert_eq!(measured.digest, self.program_digest(mapping), "{mapping:?}");
            from_files += 1;
        }
        assert!(from_files >= 6);
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.supervisor.pid()));
        let status = status.unwrap();
        let memory: Vec<_> = status
            .lines()
            .filter(|line| line.starts_with("RssAnon") || line.starts_with("VmHWM"))
            .collect();
        let pause_us = report.snapshot.pause_us;
        eprintln!(
            "{} mappings: paused {pause_us} µs; measurer's memory {memory:?}",
            expected.len()
        );
    }

    fn program_digest(&self, mapping: &Mapping) -> Digest {
        let start = usize::try_from(mapping.file_offset).unwrap();
        let size = usize::try_from(mapping.region.size).unwrap();
        let mut bytes = self.program[start..self.program.len().min(start + size)].to_vec();
        bytes.resize(size, 0);
        hash(HashAlgorithm::Sha256, &bytes)
    }

    fn virtual_and_physical_agree(&mut self) {
        for (name, size) in [("TEXT", PAGE_SIZE), ("HUGE", 2 << 20)] {
            let [at, physical] = self.words(name)[..] else {
                panic!("{name}")
            };
            let regions = vec![Region { address: at, size }];
            let by_process = self.measure(Target::Virtual { pid: 1, regions }).unwrap();
            let regions = vec![Region {
                address: physical,
                size,
            }];
            let by_address = self.measure(Target::Physical(regions)).unwrap();
            assert_eq!(by_process.digest, by_address.digest, "{name}");
            if name == "HUGE" {
                let mut expected = Hasher::new(HashAlgorithm::Sha256);
                expected.update(&vec![0x5a; 2 << 20]);
                assert_eq!(by_process.digest, expected.finish());
            }
        }
    }

    /// By a measurer that takes the place of a former one.
    fn the_kernel_is_looked_for_where_it_was_found(&mut self) {
        let found = self.supervisor.kernel_text.unwrap();
        let mut successor = |text| {
            let (vm, kernel) = (&self.vm, Some(self.kernel.as_path()));
            self.supervisor =
                Supervisor::after(&vm.ram, &vm.ranges, kernel, BUDGET, Some(text), None);
            self.supervisor.certify(Duration::from_secs(600));
            self.measure(Target::Profile { pid: 1 })
        };
        successor(found).unwrap();
        let elsewhere = successor(found + (2 << 20)).unwrap_err();
        let Refusal::KernelNotUnderstood(why) = elsewhere else {
            panic!("{elsewhere:?}")
        };
        assert!(why.contains("is not up any more"), "{why}");
    }

    fn absence_is_refused_by_name(&mut self) {
        let absent = self.words("ABSENT")[0];
        let region = |address, pages| Region {
            address,
            size: pages * PAGE_SIZE,
        };
        let at = |regions| Target::Virtual { pid: 1, regions };
        let refused = self.measure(at(vec![region(absent, 8)]));
        let addresses = (0..8).map(|page| absent + page * PAGE_SIZE).collect();
        assert_eq!(
            refused,
            Err(Refusal::NotResident {
                pid: 1,
                count: 8,
                addresses
            })
        );
        let refused = self.measure(at(vec![region(0x1000, 1)]));
        assert_eq!(
            refused,
            Err(Refusal::Unmapped {
                pid: 1,
                address: 0x1000
            })
        );
        // The kernel's half belongs to no process.
        let kernel = 0xffff_ffff_8100_0000;
        let refused = self.measure(at(vec![region(kernel, 1)]));
        assert_eq!(
            refused,
            Err(Refusal::Unmapped {
                pid: 1,
                address: kernel
            })
        );
        // kthreadd, and nobody.
        let refused = self.measure(Target::Profile { pid: 2 });
        assert_eq!(refused, Err(Refusal::NoAddressSpace { pid: 2 }));
        let refused = self.measure(Target::Profile { pid: 99_999 });
        assert_eq!(refused, Err(Refusal::UnknownProcess { pid: 99_999 }));
        assert!(self.supervisor.pauses < 10, "refusals pause nothing");
    }
}

/// An executable mapping as a line of /proc/PID/maps shows it (proc(5)); the gate page is not the process's.
fn executable(line: &str) -> Option<Mapping> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let hexadecimal = |digits| u64::from_str_radix(digits, 16).ok();
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    let (permissions, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let name = rest.splitn(3, ' ').nth(2).unwrap_or_default().trim_start();
    if !permissions.contains('x') || name == "[vsyscall]" {
        return None;
    }
    let path = match name {
        // The kernel calls every memfd deleted; here it is told from a file by its beginning.
        name if name.starts_with("/memfd:") => Some(format!(
            "(unreachable){}",
            name.trim_end_matches(" (deleted)")
        )),
        name if name.starts_with('/') => Some(name.to_owned()),
        _ => None,
    };
    let bits = [
        ('r', MappingFlags::READ),
        ('w', MappingFlags::WRITE),
        ('x', MappingFlags::EXEC),
        ('s', MappingFlags::SHARED),
    ];
    let flags = bits
        .iter()
        .filter(|(letter, _)| permissions.contains(*letter))
        .map(|(_, bit)| bit)
        .sum();
    Some(Mapping {
        region: Region {
            address: start,
            size: end - start,
        },
        file_offset: if path.is_some() {
            hexadecimal(offset)?
        } else {
            0
        },
        path,
        flags: MappingFlags(flags),
        special: name == "[vdso]",
    })
}
