//! Each act is tried by a process of its own: this test program, started anew.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use super::*;
use crate::boots::Boots;
use crate::durable;

/// Names the verifier's host and the act to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";
/// How the child ends that did what it was told, and nothing forbade it.
const DONE: i32 = 42;
/// Where the child may make files.
const FOLDER: &str = "BARTIZAN_TEST_FOLDER";

#[test]
fn a_forbidden_act_kills_the_process() {
    // An address needs no resolver.
    for (host, acts) in [
        (
            "127.0.0.1",
            [
                "execute",
                "start a program",
                "raw socket",
                "listen",
                "resolve",
            ]
            .as_slice(),
        ),
        ("localhost", &["execute", "start a program", "raw socket"]),
    ] {
        for act in acts {
            let status = child(host, act);
            assert_eq!(
                status.signal(),
                Some(libc::SIGSYS),
                "{host}, {act}: {status}"
            );
        }
    }
}

#[test]
fn what_serving_needs_is_allowed() {
    for (host, act) in [
        ("127.0.0.1", "serve"),
        ("localhost", "serve"),
        ("localhost", "resolve"),
    ] {
        let status = child(host, act);
        assert_eq!(status.code(), Some(DONE), "{host}, {act}: {status}");
    }
}

fn child(host: &str, act: &str) -> ExitStatus {
    let folder = tempfile::tempdir().unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg("confinement::tests::child_process")
        // Whoever asks for one has a panic look for files.
        .env_remove("RUST_BACKTRACE")
        .env(ACT, format!("{host}: {act}"))
        .env(FOLDER, folder.path())
        .output()
        .unwrap()
        .status
}

#[test]
#[ignore = "the child process of the tests above"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(act) = std::env::var(ACT) else { return };
    let (host, act) = act.split_once(": ").unwrap();
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let config = format!(
        "{{ socket: x, allowed_uids: [0], operations_socket: x, operators_uids: [0], hypervisor_socket: x, vault_socket: x, state_dir: '{}', verifier: {{ host: {host}, port: {} }} }}",
        folder.display(),
        address.port(),
    );
    let config: Config = serde_saphyr::from_str(&config).unwrap();
    let boots = Boots::open(&config.state_dir).unwrap();
    let knows_tcp = landlock_knows_tcp();
    let done = catch_unwind(AssertUnwindSafe(|| {
        restrict_access(&config).unwrap();
        restrict_system_calls(&config).unwrap();
        match act {
            "listen" => drop(std::net::TcpListener::bind("127.0.0.1:0")),
            "execute" => drop(Command::new("/usr/bin/true").exec()),
            "start a program" => drop(Command::new("/usr/bin/true").spawn()),
            "raw socket" => drop(rustix::net::socket(
                rustix::net::AddressFamily::PACKET,
                rustix::net::SocketType::RAW,
                None,
            )),
            "resolve" => {
                assert!(("localhost", 1).to_socket_addrs().unwrap().next().is_some());
                // Nobody has it: the question goes to name servers, if there are any.
                assert!(("bartizan.invalid", 1).to_socket_addrs().is_err());
            }
            "serve" => {
                assert_eq!(boots.next([1; 16]).unwrap(), 1);
                assert_eq!(boots.latest([1; 16]).unwrap(), 1);
                let answers = config.state_dir.join("operators.json");
                durable::replace(&answers, b"{}").unwrap();
                durable::remove(&answers).unwrap();
                std::net::TcpStream::connect(address).unwrap();
                let refused = std::net::TcpStream::connect(other.local_addr().unwrap());
                let refused = refused.err().map(|error| error.kind());
                assert_eq!(refused, knows_tcp.then_some(ErrorKind::PermissionDenied));
                let refused = fs::read("/proc/self/status").unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
                let random = || aws_lc_rs::rand::fill(&mut [0]).unwrap();
                std::thread::spawn(random).join().unwrap();
            }
            other => panic!("unknown act {other}"),
        }
    }));
    // At once, also from a panic: the harness needs more, and would die of that.
    std::process::exit(done.map_or(1, |()| DONE));
}

/// From Linux 6.7 on; what older kernels do not restrict is said in the log.
fn landlock_knows_tcp() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 7)
}
