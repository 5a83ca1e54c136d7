//! A real guest under QEMU, with its RAM in a memfd.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use bartizan_attestation::host::RamRange;
use bartizan_write_tracking::{Handover, LIBRARY, Receiver};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::inheriting::spawn_keeping;
use crate::ram::{HIGH, MIB};
use crate::supervisor::Machine;
use crate::tracked::{Tracked, device};

/// RAM on each side of the PCI hole.
const HALF: u64 = 256 * MIB;

/// A guest whose first process is one of `tests/guest`.
pub(crate) struct Vm {
    qemu: Child,
    console: BufReader<ChildStdout>,
    qmp: BufReader<UnixStream>,
    pub(crate) ram: File,
    pub(crate) ranges: Vec<RamRange>,
    /// Where its userfaultfd arrives.
    receiver: Option<Receiver>,
}

impl Vm {
    /// Boots `kernel` with that first process, CPU model and command line; everything in `folder`.
    pub(crate) fn boot(
        folder: &Path,
        kernel: &Path,
        init: &str,
        cpu: &str,
        command_line: &str,
    ) -> Self {
        Self::start(folder, kernel, init, cpu, command_line, None)
    }

    /// The same, and its writes can be tracked.
    pub(crate) fn boot_tracked(folder: &Path, kernel: &Path, init: &str, cpu: &str) -> Self {
        let device = device();
        let handover = Handover::new(&device).unwrap();
        Self::start(folder, kernel, init, cpu, "", Some(handover))
    }

    fn start(
        folder: &Path,
        kernel: &Path,
        init: &str,
        cpu: &str,
        command_line: &str,
        handover: Option<Handover<'_>>,
    ) -> Self {
        let memfd = memfd_create("ram", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&memfd, 2 * HALF).unwrap();
        fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        let ram = File::from(memfd);
        let control = folder.join("qmp");
        let listener = UnixListener::bind(&control).unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), ram.as_raw_fd());
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "300"]);
        if let Some(handover) = &handover {
            // Of all that is executed here QEMU alone has it preloaded: what env(1) sets is for what it executes.
            let (name, value) = handover.environment();
            let library = std::env::current_exe().unwrap().with_file_name(LIBRARY);
            assert!(library.exists(), "{} is not built", library.display());
            command
                .arg("env")
                .arg(format!("LD_PRELOAD={}", library.display()))
                .arg(format!("{name}={value}"));
        }
        command
            .args(["qemu-system-x86_64", "-nodefaults", "-display", "none"])
            .args(["-accel", "tcg", "-cpu", cpu, "-m", "512"])
            .args(["-machine", "q35,memory-backend=ram,max-ram-below-4g=256M"])
            .arg("-object")
            .arg(format!(
                "memory-backend-file,id=ram,size=512M,share=on,mem-path={path}"
            ))
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd(folder, init))
            .args([
                "-append",
                &format!("console=ttyS0 quiet panic=-1 {command_line}"),
            ])
            .args(["-no-reboot", "-serial", "stdio", "-qmp"])
            .arg(format!("unix:{}", control.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let descriptors = handover.as_ref().map(Handover::descriptors);
        let mut qemu = spawn_keeping(&mut command, descriptors.as_ref().map_or(&[], |all| all));
        let console = BufReader::new(qemu.stdout.take().unwrap());
        let (qmp, _) = listener.accept().unwrap();
        let ranges = vec![
            RamRange {
                address: 0,
                size: HALF,
                file_offset: 0,
            },
            RamRange {
                address: HIGH,
                size: HALF,
                file_offset: HALF,
            },
        ];
        let mut vm = Self {
            qemu,
            console,
            qmp: BufReader::new(qmp),
            ram,
            ranges,
            receiver: handover.map(Handover::started),
        };
        vm.command("qmp_capabilities");
        vm
    }

    /// What tracks its writes.
    pub(crate) fn tracked(&self) -> Tracked {
        // The child of timeout(1).
        let timeout = self.qemu.id();
        let children = format!("/proc/{timeout}/task/{timeout}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let qemu = children.trim().parse().unwrap();
        Tracked::handed_over(qemu, self.receiver.as_ref().unwrap(), &self.ram)
    }

    /// The console's lines up to `READY`.
    pub(crate) fn until_ready(&mut self) -> Vec<String> {
        self.until("READY")
    }

    /// The console's lines up to the first that begins so.
    pub(crate) fn until(&mut self, word: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.console.read_line(&mut line).unwrap(),
                0,
                "the guest ended: {lines:#?}"
            );
            if line.starts_with(word) {
                return lines;
            }
            lines.push(line.trim_end().to_owned());
        }
    }

    /// Bytes of the guest's RAM at a guest-physical address.
    pub(crate) fn read(&self, address: u64, size: usize) -> Vec<u8> {
        let holds =
            |range: &&RamRange| (range.address..range.address + range.size).contains(&address);
        let range = self.ranges.iter().find(holds).unwrap();
        let mut bytes = vec![0; size];
        self.ram
            .read_exact_at(&mut bytes, range.file_offset + address - range.address)
            .unwrap();
        bytes
    }

    fn command(&mut self, name: &str) {
        writeln!(self.qmp.get_mut(), r#"{{"execute":"{name}"}}"#).unwrap();
        let mut line = String::new();
        while !line.contains(r#""return""#) {
            line.clear();
            assert_ne!(self.qmp.read_line(&mut line).unwrap(), 0, "QEMU ended");
            assert!(!line.contains(r#""error""#), "{line}");
        }
    }
}

impl Machine for Vm {
    fn stop(&mut self) {
        self.command("stop");
    }

    fn resume(&mut self) {
        self.command("cont");
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // timeout(1) passes SIGTERM on to QEMU; both fail harmlessly where they have ended already.
        let timeout = rustix::process::Pid::from_child(&self.qemu);
        let _ = rustix::process::kill_process(timeout, rustix::process::Signal::TERM);
        let _ = self.qemu.wait();
    }
}

/// The program that runs as /init; its bytes are what the guest maps.
pub(crate) fn program(folder: &Path) -> PathBuf {
    folder.join("init")
}

fn initrd(folder: &Path, init: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/guest")
        .join(init);
    let built = Command::new("rustc")
        .args([
            "--edition=2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-o",
        ])
        .arg(program(folder))
        .arg(source)
        .status()
        .unwrap();
    assert!(built.success());
    let mut archive = Vec::new();
    cpio(&mut archive, "dev", 0o040_755, (0, 0), &[]);
    cpio(&mut archive, "dev/console", 0o020_600, (5, 1), &[]);
    cpio(&mut archive, "proc", 0o040_755, (0, 0), &[]);
    cpio(
        &mut archive,
        "init",
        0o100_755,
        (0, 0),
        &std::fs::read(program(folder)).unwrap(),
    );
    cpio(&mut archive, "TRAILER!!!", 0, (0, 0), &[]);
    let path = folder.join("initrd");
    std::fs::write(&path, archive).unwrap();
    path
}

/// One entry of a cpio archive (Documentation/driver-api/early-userspace/buffer-format.rst).
fn cpio(archive: &mut Vec<u8>, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
    let size = u32::try_from(contents.len()).unwrap();
    let name_size = u32::try_from(name.len() + 1).unwrap();
    let fields = [
        0, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0,
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(contents);
    archive.resize(archive.len().next_multiple_of(4), 0);
}
