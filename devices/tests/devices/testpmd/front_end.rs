//! Debian's dpdk-testpmd with one port: a guest's network device, over vhost-user (its virtio-user driver).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use bartizan_local::attachment::{Attached, DeviceKind};

use super::relay::relay;
use crate::daemon::{DEADLINE, Daemon, attach_next, ticket, unlogged};
use crate::network::sample::{Station, interface};

/// What is sent: its stations, and its ports of UDP.
#[derive(Clone, Copy)]
pub(super) struct Sends {
    /// By whom, as the frames say.
    pub(super) from: Station,
    pub(super) to: Station,
    pub(super) ports: (u16, u16),
}

/// A running one, killed when dropped.
pub(super) struct Testpmd {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
    /// What it complains of.
    log: PathBuf,
    queues: u16,
}

/// Packets that its port has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counted {
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Testpmd {
    /// In the place of the guest of that number, with so many queues each way.
    pub(super) fn start(daemon: &Daemon, number: u8, sends: &Sends, queues: u16) -> Self {
        let cid = u32::from(number);
        daemon.admit_with(cid, &[], Some(interface(number)), false);
        let (device, answer) = attach_next(daemon, &unlogged(ticket(cid), DeviceKind::Network), &[]);
        assert_eq!(answer, Attached::Serving);
        // It may rest for as long as it likes.
        device.set_read_timeout(None).unwrap();
        let socket = daemon.path(&format!("testpmd-{number}.sock"));
        relay(UnixListener::bind(&socket).unwrap(), device);
        let mut child = command(daemon, number, sends, queues)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(daemon.path("testpmd.log")).unwrap())
            .spawn()
            .unwrap();
        let (lines, output) = channel();
        let printed = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in printed.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let mut testpmd = Self {
            input: child.stdin.take().unwrap(),
            child,
            output,
            log: daemon.path("testpmd.log"),
            queues,
        };
        // From here on it takes what comes.
        testpmd.tell("set fwd rxonly");
        testpmd.wait_for("Set rxonly packet forwarding mode");
        testpmd
    }

    /// Has it send so many frames of `size` bytes without their checksum in one burst by each queue, and none after these.
    pub(super) fn send(&mut self, count: u32, size: usize) {
        self.tell(&format!("set txpkts {size}"));
        self.tell(&format!("set burst {count}"));
        self.wait_for(&format!("Number of packets per burst set to {count}"));
        let before = self.counted();
        self.tell("start tx_first 1");
        self.wait_for("packets/burst=");
        let sent = u64::from(count) * u64::from(self.queues);
        assert_eq!(self.counted().sent - before.sent, sent);
        self.tell("stop");
        self.wait_for("Done.");
    }

    /// Has it take frames until it has taken so many.
    pub(super) fn receive(&mut self, count: u64) {
        self.tell("start");
        self.wait_for("packets/burst=");
        let give_up = Instant::now() + DEADLINE;
        loop {
            let counted = self.counted();
            if counted.received >= count {
                assert_eq!(counted.received, count);
                break;
            }
            assert!(Instant::now() < give_up, "{counted:?}");
        }
        self.tell("stop");
        self.wait_for("Done.");
    }

    /// Ends it as its user would, which ends its device.
    pub(super) fn quit(mut self) {
        self.tell("quit");
        assert!(self.child.wait().unwrap().success());
    }

    /// What each of its queues has counted, which way.
    pub(super) fn counted_by_queue(&mut self, way: &str) -> Vec<u64> {
        self.tell("show port xstats 0");
        let names = (0..self.queues).map(|queue| format!("{way}_q{queue}_good_packets:"));
        let names: Vec<_> = names.collect();
        let counted = names
            .iter()
            .map(|name| number_after(&self.wait_for(name), name));
        counted.collect()
    }

    fn counted(&mut self) -> Counted {
        self.tell("show port stats 0");
        let received = number_after(&self.wait_for("RX-packets:"), "RX-packets:");
        let sent = number_after(&self.wait_for("TX-packets:"), "TX-packets:");
        Counted { received, sent }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// The next line with these words.
    fn wait_for(&mut self, words: &str) -> String {
        let give_up = Instant::now() + DEADLINE;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let line = self.output.recv_timeout(left);
            let line = line.unwrap_or_else(|why| {
                let log = std::fs::read_to_string(&self.log).unwrap();
                panic!("testpmd never said `{words}`: {why}; its log:\n{log}")
            });
            if line.contains(words) {
                return line;
            }
        }
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number_after(line: &str, words: &str) -> u64 {
    let (_, rest) = line.split_once(words).unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// With no huge page, no card and no trace on the disk; its output line by line.
fn command(daemon: &Daemon, number: u8, sends: &Sends, queues: u16) -> Command {
    let Sends { from, to, ports } = sends;
    let socket = daemon.path(&format!("testpmd-{number}.sock"));
    let device = format!(
        "--vdev=net_virtio_user0,path={},mac={},queues={queues},queue_size=256",
        socket.display(),
        written(from.mac)
    );
    let mut command = Command::new("stdbuf");
    command
        .args(["--output=L", "dpdk-testpmd"])
        .args([
            "--no-huge",
            "-m",
            "64",
            "--no-pci",
            "--no-telemetry",
            "--no-shconf",
        ])
        // One that takes orders and one that sends, wherever they may run, be it one processor.
        .arg(format!("--lcores=(0,1)@({})", processors()))
        .arg(device)
        .args(["--", "--interactive", "--total-num-mbufs=4096"])
        .args([format!("--rxq={queues}"), format!("--txq={queues}")])
        .arg(format!("--eth-peer=0,{}", written(to.mac)))
        .arg(format!("--tx-ip={},{}", from.v4, to.v4))
        .arg(format!("--tx-udp={},{}", ports.0, ports.1))
        .env("LD_PRELOAD", sealable(daemon))
        .env("RUNTIME_DIRECTORY", daemon.directory.path());
    command
}

/// Which ones there are for us, as the kernel lists them.
fn processors() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let listed = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    listed.unwrap().trim().to_owned()
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The library that has its memory sealed, made once for each daemon.
fn sealable(daemon: &Daemon) -> PathBuf {
    let library = daemon.path("sealable.so");
    if !library.exists() {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/devices/testpmd/sealable.c"
        );
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source);
        assert!(cc.status().unwrap().success(), "{source} does not compile");
    }
    library
}
