//! A process with the library preloaded: this test program, started anew, that maps a file and does as it is told.
#![expect(
    unsafe_code,
    reason = "descriptors are passed between fork and exec; the child maps memory"
)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// Names the file's descriptor to the child.
const RAM: &str = "BARTIZAN_TEST_RAM";

/// Who preloads the library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Preloaded {
    /// The variable of ld.so(8).
    ByVariable,
    /// The loader that is executed in the program's place, by its argument, as one that was measured is.
    ByArgument,
}

/// One that runs.
pub(crate) struct Child {
    process: process::Child,
    link: BufReader<UnixStream>,
}

impl Child {
    /// With the descriptors under the numbers that they have here, and these variables.
    pub(crate) fn start<const N: usize>(
        ram: &File,
        descriptors: [BorrowedFd<'_>; N],
        variables: &[(&str, String)],
        preloaded: Preloaded,
    ) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let program = std::env::current_exe().unwrap();
        // Where cargo puts what it builds for a test.
        let library = program.with_file_name("libbartizan_tracked.so");
        assert!(library.exists(), "{} is not built", library.display());
        let mut command = match preloaded {
            Preloaded::ByVariable => {
                let mut command = Command::new(&program);
                command.env("LD_PRELOAD", &library);
                command
            }
            Preloaded::ByArgument => {
                let mut command = Command::new("/lib64/ld-linux-x86-64.so.2");
                command.arg("--preload").arg(&library).arg(&program);
                command
            }
        };
        command
            .args(["--exact", "--ignored", "--test-threads=1", "child::process"])
            .env(RAM, ram.as_raw_fd().to_string())
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null());
        let kept: Vec<i32> = descriptors
            .iter()
            .map(AsRawFd::as_raw_fd)
            .chain([ram.as_raw_fd()])
            .collect();
        let keep = move || {
            for number in &kept {
                // SAFETY: the caller of `start` holds them open until it has returned, by which time this has run.
                let descriptor = unsafe { BorrowedFd::borrow_raw(*number) };
                fcntl_setfd(descriptor, FdFlags::empty())?;
            }
            Ok(())
        };
        // SAFETY: it makes system calls only.
        unsafe { command.pre_exec(keep) };
        let process = command.spawn().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self {
            process,
            link: BufReader::new(ours),
        }
    }

    /// Its file in /proc.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.process.id()).into()
    }

    pub(crate) fn ask(&mut self, what: &str) {
        writeln!(self.link.get_mut(), "{what}").unwrap();
    }

    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        self.link.read_line(&mut line).unwrap();
        line.strip_suffix('\n').expect("it is there").to_owned()
    }

    pub(crate) fn expect(&mut self, answer: &str) {
        assert_eq!(self.answer(), answer);
    }

    pub(crate) fn end(mut self) {
        drop(self.link);
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
#[ignore = "the child process of the tests"]
fn process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(number) = std::env::var(RAM) else {
        return;
    };
    let number: i32 = number.parse().unwrap();
    // SAFETY: it was passed for this, and is open as long as the process.
    let ram = unsafe { BorrowedFd::borrow_raw(number) };
    let size = usize::try_from(rustix::fs::fstat(ram).unwrap().st_size).unwrap();
    let (none, prot) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: a null hint lets the kernel choose free addresses: no memory of ours is replaced.
    let start = unsafe { mmap(none, size, prot, MapFlags::SHARED, ram, 0) }.unwrap();
    // SAFETY: nothing else refers to the mapping, which lasts as long as the process. Others read the file meanwhile.
    let memory = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), size) };

    // SAFETY: standard input is a socket, of which nobody else in this process knows.
    let link = unsafe { BorrowedFd::borrow_raw(0) };
    let mut link = UnixStream::from(link.try_clone_to_owned().unwrap());
    let mut asked = BufReader::new(link.try_clone().unwrap());
    // From here on the socket is what was cloned twice.
    writeln!(link, "ready").unwrap();
    loop {
        let mut line = String::new();
        if asked.read_line(&mut line).unwrap() == 0 {
            return;
        }
        let answer = obey(line.trim_end(), memory);
        writeln!(link, "{answer}").unwrap();
    }
}

fn obey(what: &str, memory: &mut [u8]) -> String {
    let page = |number: &str| number.parse::<usize>().unwrap() * 4096;
    match what.split_once(' ').unwrap_or((what, "")) {
        ("write", number) => {
            let byte = memory.get_mut(page(number)).unwrap();
            *std::hint::black_box(byte) = 1;
            "done".into()
        }
        // The kernel writes.
        ("read", number) => {
            let into = memory
                .get_mut(page(number)..)
                .unwrap()
                .first_chunk_mut::<64>();
            let mut zero = File::open("/dev/zero").unwrap();
            zero.read_exact(into.unwrap()).unwrap();
            "done".into()
        }
        ("environment", "") => ["LD_PRELOAD", "BARTIZAN_TRACKED"]
            .into_iter()
            .filter(|name| std::env::var_os(name).is_some())
            .collect(),
        ("descriptors", "") => std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .map(|link| format!("{} ", link.display()))
            .collect(),
        other => panic!("{other:?}"),
    }
}
