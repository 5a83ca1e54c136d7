//! Each act is tried by a process of its own: this test program started anew, or a program under QEMU's restrictions.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use bartizan_attestation::identity::{CardId, GuestIdentity};
use bartizan_local::admission::Ticket;
use rustix::process::PidfdGetfdFlags;
use rustix::thread::{Gid, Uid};

use super::qemu::VhostLink;
use super::*;
use crate::cgroup;
use crate::qemu::accelerator::{Accelerator, AcceleratorChoice};
use crate::qemu::process::{Confined, User};
use crate::qemu::queues::QueueLimit;
use crate::supervisor::users::OwnUsers;
use crate::supervisor::{Program, SupervisorConfig};

/// Names the process and the act to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";
/// How the child ends that did what it was told, and nothing forbade it.
const DONE: i32 = 42;
/// Where the child may make files.
const FOLDER: &str = "BARTIZAN_TEST_FOLDER";
/// The supervisors' user and group.
const SUPERVISOR: u32 = 988;
/// A guest's user, and its group.
const GUEST: u32 = 100_005;
const GROUP: u32 = 989;

#[test]
fn a_forbidden_act_kills_daemon_supervisor_and_keeper() {
    for process in ["daemon", "supervisor", "keeper"] {
        for act in [
            "root",
            "another group",
            "groups",
            "network",
            "chroot",
            "descriptor",
        ] {
            let status = child(process, act);
            assert_eq!(
                status.signal(),
                Some(libc::SIGSYS),
                "{process}, {act}: {status}"
            );
        }
    }
}

#[test]
fn a_supervisor_becomes_its_own_guests_users_only() {
    assert_eq!(child("daemon", "another guest").code(), Some(DONE));
    assert_eq!(
        child("supervisor", "another guest").signal(),
        Some(libc::SIGSYS)
    );
    assert_eq!(child("supervisor", "guest").code(), Some(DONE));
}

#[test]
fn a_keeper_becomes_its_enclaves_user_only() {
    assert_eq!(child("keeper", "guest").code(), Some(DONE));
    let other = child("keeper", "another guest");
    assert_eq!(other.signal(), Some(libc::SIGSYS), "{other}");
}

#[test]
fn daemon_supervisor_and_keeper_reach_their_files_and_start_their_programs_only() {
    for process in ["daemon", "supervisor", "keeper"] {
        let status = child(process, "files");
        assert_eq!(status.code(), Some(DONE), "{process}: {status}");
    }
}

fn child(process: &str, act: &str) -> ExitStatus {
    let folder = tempfile::tempdir().unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg("confinement::tests::child_process")
        // Whoever asks for one has a panic look for files.
        .env_remove("RUST_BACKTRACE")
        .env(ACT, format!("{process}: {act}"))
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
    let (process, act) = act.split_once(": ").unwrap();
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let done = catch_unwind(AssertUnwindSafe(|| {
        match process {
            "daemon" => daemon_in(&folder),
            "keeper" => keeper_in(&folder),
            _ => supervisor_in(&folder),
        }
        let listed = fs::File::open("/dev/null").unwrap();
        let become_user = |uid| {
            let uid = Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid)
        };
        match act {
            "root" => drop(become_user(0)),
            // Whether the kernel would let this process is another matter.
            "guest" => drop(become_user(GUEST)),
            "another guest" => drop(become_user(GUEST + 1)),
            "another group" => {
                let gid = Gid::from_raw(GROUP + 1);
                let _unchanged = rustix::thread::set_thread_res_gid(gid, gid, gid);
            }
            "groups" => drop(rustix::thread::set_thread_groups(&[Gid::from_raw(GROUP)])),
            "network" => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
            "chroot" => drop(rustix::process::chroot("/")),
            "descriptor" => drop(rustix::process::pidfd_getfd(
                &listed,
                0,
                PidfdGetfdFlags::empty(),
            )),
            "files" => {
                files(&folder);
                let made = fs::create_dir(folder.join("run/folder"));
                assert_eq!(made.is_ok(), process != "supervisor", "{made:?}");
            }
            other => panic!("unknown act {other}"),
        }
    }));
    // At once, also from a panic: the harness needs more, and would die of that.
    std::process::exit(done.map_or(1, |()| DONE));
}

fn files(folder: &Path) {
    fs::write(folder.join("run/file"), "own").unwrap();
    for elsewhere in [folder.join("elsewhere"), "/etc/passwd".into()] {
        let refused = fs::read(&elsewhere).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{elsewhere:?}");
    }
    assert!(Command::new("/usr/bin/true").status().unwrap().success());
    let other = Command::new("/usr/bin/false").status().unwrap_err();
    assert_eq!(other.kind(), ErrorKind::PermissionDenied);
}

/// Puts this process into a daemon's place: every program is `true`.
fn daemon_in(folder: &Path) {
    prepare(folder);
    let at = |name: &str| folder.join(name).display().to_string();
    let users = |first| format!("{{ first: {first}, count: 10, gid: {GROUP} }}");
    let config = format!(
        "{{ run_dir: '{run}', operator_socket: '{run}/operator.sock', allowed_uids: [0], card_socket: x, \
         devices_socket: x, devices_uid: 1, fleet_ca: '{ca}', images: ['{images}'], \
         supervisor: {{ program: /usr/bin/true, user: {{ uid: {SUPERVISOR}, gid: {SUPERVISOR} }} }}, \
         qemu: {{ program: /usr/bin/true, users: {qemu} }}, measurer: {{ program: /usr/bin/true, users: {measurer} }} }}",
        run = at("run"),
        ca = at("fleet-ca.pem"),
        images = at("images"),
        qemu = users(100_000),
        measurer = users(200_000),
    );
    daemon::confine(&serde_saphyr::from_str(&config).unwrap()).unwrap();
    fs::File::options()
        .write(true)
        .open(folder.join("images/disk.img"))
        .unwrap();
}

/// Puts this process into a keeper's place: QEMU is `true`.
fn keeper_in(folder: &Path) {
    prepare(folder);
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "{{ run_dir: '{run}', kernel: '{file}', image: '{file}', config: '{file}', command_line: '{file}', \
         qemu: {{ program: /usr/bin/true, user: {{ uid: {GUEST}, gid: {GROUP} }} }}, \
         links: {{ card: '{socket}', hypervisor: x, verifier: x }} }}",
        run = at("run"),
        file = at("images/disk.img"),
        socket = at("card.sock"),
    );
    let _card = std::os::unix::net::UnixListener::bind(folder.join("card.sock")).unwrap();
    keeper::confine(&serde_saphyr::from_str(&config).unwrap()).unwrap();
    fs::read(folder.join("images/disk.img")).unwrap();
    // What was measured stays as it was.
    let written = fs::write(folder.join("images/disk.img"), "").unwrap_err();
    assert_eq!(written.kind(), ErrorKind::PermissionDenied);
    let note = fs::read(folder.join("started/known.json")).unwrap_err();
    assert_eq!(note.kind(), ErrorKind::PermissionDenied);
    std::os::unix::net::UnixStream::connect(folder.join("card.sock")).unwrap();
    // The next run's group.
    for group in cgroup::folders() {
        let group = group.join(format!("bartizan-test-{}", std::process::id()));
        match fs::create_dir(&group) {
            Ok(()) => fs::remove_dir(&group).unwrap(),
            // Elsewhere than in a group of one's own there may be none to make.
            Err(error) => assert_ne!(error.kind(), ErrorKind::PermissionDenied, "{group:?}"),
        }
    }
}

fn supervisor_in(folder: &Path) {
    prepare(folder);
    let program = || Program {
        path: "/usr/bin/true".into(),
        measured: None,
        users: None,
    };
    let config = SupervisorConfig {
        guest: GuestIdentity {
            card: CardId([1; 32]),
            vm: [1; 16],
            boot: 1,
        },
        record: String::new(),
        daemon: 990,
        cid: 3,
        directory: folder.join("run"),
        locks: folder.join("users"),
        qemu: program(),
        qemu_parts: None,
        tracking_library: None,
        measurer: program(),
        devices: folder.join("devices.sock"),
        ticket: Ticket::new([1; 32]),
        accelerator: AcceleratorChoice::Tcg,
        network_queues: QueueLimit::default(),
    };
    let mut users = OwnUsers::take(&config.locks, None, None).unwrap();
    let service = folder.join("service");
    let _service = std::os::unix::net::UnixListener::bind(&service).unwrap();
    fs::set_permissions(&service, Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&service, Some(GUEST + 1), None).unwrap();
    std::os::unix::net::UnixStream::connect(&service).unwrap();
    users.qemu = Some(User {
        uid: GUEST,
        gid: GROUP,
    });
    supervisor::hold(&config, &users).unwrap();
    let disk = fs::read(folder.join("images/disk.img")).unwrap_err();
    assert_eq!(disk.kind(), ErrorKind::PermissionDenied);
    // By which whoever guards a socket by its mode alone would let it in.
    let connected = std::os::unix::net::UnixStream::connect(&service).unwrap_err();
    assert_eq!(connected.kind(), ErrorKind::PermissionDenied);
    // By its control group, the daemon knows who is left of a boot.
    for group in cgroup::folders() {
        let made = fs::create_dir(group.join("bartizan-test")).unwrap_err();
        assert_eq!(made.kind(), ErrorKind::PermissionDenied);
    }
    // By what daemons note there, they know it later.
    let note = fs::write(folder.join("started/note.json"), "").unwrap_err();
    assert_eq!(note.kind(), ErrorKind::PermissionDenied);
    // There is the ticket of every guest's device.
    let known = fs::read(folder.join("started/known.json")).unwrap_err();
    assert_eq!(known.kind(), ErrorKind::PermissionDenied);
}

fn prepare(folder: &Path) {
    for name in ["run", "images", "started"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    for name in [
        "fleet-ca.pem",
        "images/disk.img",
        "elsewhere",
        "started/known.json",
    ] {
        fs::write(folder.join(name), "").unwrap();
    }
}

/// How a program ends that runs as QEMU does.
async fn as_qemu(program: &str, arguments: &[&str]) -> ExitStatus {
    as_qemu_with(VhostLink::None, program, arguments).await
}

async fn as_qemu_with(link: VhostLink, program: &str, arguments: &[&str]) -> ExitStatus {
    let restrictions = qemu::restrictions(program.as_ref(), None, Accelerator::Tcg, link).unwrap();
    let confined = Confined::new(program.as_ref()).args(arguments);
    let mut process = confined.restricted(restrictions).spawn().unwrap();
    process.exited().await.unwrap()
}

#[tokio::test]
async fn qemu_reads_its_firmware_and_no_other_file() {
    let firmware = "/usr/share/seabios/bios-256k.bin";
    assert!(as_qemu("/usr/bin/cat", &[firmware]).await.success());
    for file in ["/etc/passwd", "/proc/1/cmdline", "/proc/self/maps"] {
        assert_eq!(
            as_qemu("/usr/bin/cat", &[file]).await.code(),
            Some(1),
            "{file}"
        );
    }
}

#[tokio::test]
async fn qemu_writes_executes_and_connects_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let written = format!("echo > {}/new", folder.path().display());
    let shell = "/usr/bin/dash";
    assert_eq!(as_qemu(shell, &["-c", &written]).await.code(), Some(2));
    // Found and not allowed to be executed (POSIX, shell command language, exit status).
    let executed = as_qemu(shell, &["-c", "exec /usr/bin/true"]).await;
    assert_eq!(executed.code(), Some(126));
    let socket = folder.path().join("service");
    let _service = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let socket = socket.to_str().unwrap();
    for to in [["-connect", "127.0.0.1:1"], ["-unix", socket]] {
        let connected = as_qemu("/usr/bin/openssl", &["s_client", to[0], to[1]]).await;
        assert_eq!(
            connected.signal(),
            Some(libc::SIGSYS),
            "{to:?}: {connected}"
        );
    }
}

/// It is let believe that it connects, for the sake of its network device's link.
#[tokio::test]
async fn qemu_with_a_network_device_connects_to_nothing_either() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("service");
    let service = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    service.set_nonblocking(true).unwrap();
    // Its first socket is its standard input, whatever it asks for, and stays what it was.
    let script = format!(
        "use Socket; $fd = syscall({}, 1, 1, 0); $fd == 0 or exit 2; \
         $to = pack_sockaddr_un('{}'); syscall({}, 0, $to, length $to) == 0 or exit 3; \
         exit(-S STDIN ? 4 : 0)",
        libc::SYS_socket,
        socket.display(),
        libc::SYS_connect,
    );
    let link = VhostLink::StandardInput;
    let connected = as_qemu_with(link, "/usr/bin/perl", &["-e", &script]).await;
    assert!(connected.success(), "{connected}");
    assert_eq!(service.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let elsewhere = format!("syscall({}, 2, 1, 0)", libc::SYS_socket);
    let refused = as_qemu_with(link, "/usr/bin/perl", &["-e", &elsewhere]).await;
    assert_eq!(refused.signal(), Some(libc::SIGSYS), "{refused}");
}

/// Known attack: a QEMU that its guest took over is still there when another supervisor starts the guest.
#[tokio::test]
async fn qemu_does_not_outlive_its_supervisor() {
    let signal_at_death = i64::from(libc::PR_SET_PDEATHSIG);
    for (act, number, first, second) in [
        ("clears the signal", libc::SYS_prctl, signal_at_death, 0),
        (
            "takes another",
            libc::SYS_prctl,
            signal_at_death,
            libc::SIGCONT,
        ),
        ("fork", libc::SYS_fork, 0, 0),
        ("vfork", libc::SYS_vfork, 0, 0),
        ("clone", libc::SYS_clone, libc::SIGCHLD.into(), 0),
        (
            "clone, same memory",
            libc::SYS_clone,
            libc::CLONE_VM.into(),
            0,
        ),
    ] {
        let call = format!("syscall({number}, {first}, {second}, 0, 0, 0)");
        let status = as_qemu("/usr/bin/perl", &["-e", &call]).await;
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{act}: {status}");
    }
    let name = format!(
        "$name = 'a thread'; exit(syscall({}, {}, $name) != 0)",
        libc::SYS_prctl,
        libc::PR_SET_NAME
    );
    // For a thread of its own memory the kernel answers EINVAL (clone(2)): the filter let it pass.
    let thread = format!(
        "exit(syscall({}, {}, 0, 0, 0, 0) != -1)",
        libc::SYS_clone,
        libc::CLONE_THREAD
    );
    for allowed in [name, thread] {
        let status = as_qemu("/usr/bin/perl", &["-e", &allowed]).await;
        assert!(status.success(), "{allowed}: {status}");
    }
}

/// Memory that counts for nobody once its maker has ended, and is limited by nothing.
#[tokio::test]
async fn qemu_leaves_no_memory_and_no_queue_behind() {
    for kind in [["-M", "4096"].as_slice(), &["-Q"], &["-S", "1"]] {
        let made = as_qemu("/usr/bin/ipcmk", kind).await;
        assert_eq!(made.signal(), Some(libc::SIGSYS), "{kind:?}: {made}");
    }
}
