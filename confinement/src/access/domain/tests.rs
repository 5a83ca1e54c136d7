//! Confined is the thread that enters, not the whole test.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::*;

fn within(rules: &Rules, act: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let confined = scope.spawn(|| {
            rules.enter().unwrap();
            act();
        });
        confined.join().unwrap();
    });
}

fn refused<T>(outcome: io::Result<T>) {
    assert_eq!(outcome.err().unwrap().kind(), ErrorKind::PermissionDenied);
}

/// Refused by kernels from a version of Landlock on; older ones allow it, which `enter` says in the log.
fn refused_since<T>(version: ABI, outcome: io::Result<T>) {
    if version <= effective() {
        refused(outcome);
    } else {
        assert!(outcome.is_ok());
    }
}

/// The version of this kernel's Landlock, as far as it is asked for.
fn effective() -> ABI {
    let asked = || Rules::none().domain().unwrap().0.restrict_self();
    let status = std::thread::scope(|scope| scope.spawn(asked).join().unwrap().unwrap());
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        none => panic!("{none:?}"),
    }
}

#[test]
fn without_a_rule_nothing_is_left() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    within(&Rules::none(), || {
        refused(File::open("/dev/null"));
        refused(fs::read_dir("/"));
        refused_since(ABI::V4, TcpListener::bind("127.0.0.1:0"));
        refused_since(ABI::V4, TcpStream::connect(server.local_addr().unwrap()));
        let status = fs::read_to_string("/proc/thread-self/status");
        refused(status);
    });
}

#[test]
fn each_right_grants_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["read", "write", "replace", "manage"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("file"), "there").unwrap();
    }
    let rules = Rules::none()
        .grant(at("read"), Rights::Read)
        .grant(at("write"), Rights::Write)
        .grant(at("replace"), Rights::Replace)
        .grant(at("manage"), Rights::Manage);
    within(&rules, || {
        for name in ["read", "write", "replace", "manage"] {
            assert_eq!(fs::read_to_string(at(name).join("file")).unwrap(), "there");
        }
        let write = |name| File::options().write(true).open(at(name).join("file"));
        let make = |name| fs::write(at(name).join("new"), "");
        refused(write("read"));
        write("write").unwrap();
        refused(make("write"));
        refused(fs::remove_file(at("write").join("file")));
        make("replace").unwrap();
        fs::rename(at("replace").join("new"), at("replace").join("file")).unwrap();
        refused(fs::create_dir(at("replace").join("folder")));
        refused(UnixListener::bind(at("replace").join("socket")));
        fs::create_dir(at("manage").join("folder")).unwrap();
        UnixListener::bind(at("manage").join("socket")).unwrap();
    });
}

#[test]
fn ports_are_granted_one_by_one() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    within(&Rules::none().connect(port).listen([0]), || {
        TcpStream::connect(server.local_addr().unwrap()).unwrap();
        refused_since(ABI::V4, TcpStream::connect(other.local_addr().unwrap()));
        TcpListener::bind("127.0.0.1:0").unwrap();
    });
}

#[test]
fn only_a_program_that_is_named_is_executed() {
    let run = |program: &str| std::process::Command::new(program).status();
    let rules = Rules::none()
        .grant_any(
            ["/lib", "/lib64", "/usr/lib", "/etc/ld.so.cache"],
            Rights::Read,
        )
        .grant_any(
            ["/lib64/ld-linux-x86-64.so.2", "/bin/true"],
            Rights::Execute,
        )
        .grant("/dev/null", Rights::Write);
    within(&rules, || {
        assert!(run("/bin/true").unwrap().success());
        refused(run("/bin/false"));
    });
}

#[test]
fn a_path_that_must_be_there_is_named_if_it_is_not() {
    let missing = Rules::none().grant("/nonexistent/keys", Rights::Read);
    let refused = missing.domain().unwrap_err().to_string();
    assert!(refused.contains("/nonexistent/keys"), "{refused}");
    let optional = Rules::none().grant_any(["/nonexistent/keys"], Rights::Read);
    optional.domain().unwrap();
    let here = Rules::none().grant(Path::new(""), Rights::Read);
    here.domain().unwrap();
}

#[test]
fn what_an_old_kernel_lacks_is_known() {
    assert_eq!(lacking(ABI::V1).count(), 5);
    assert_eq!(lacking(ABI::V3).count(), 3);
    assert_eq!(lacking(NEWEST).count(), 0);
}

#[test]
fn strangers_are_signalled_by_leave_only() {
    let start = || std::process::Command::new("sleep").arg("1000").spawn();
    for (rules, since) in [
        (Rules::none(), ABI::V6),
        (Rules::none().signal_strangers(), ABI::Unsupported),
    ] {
        let mut stranger = start().unwrap();
        within(&rules, || match since {
            ABI::Unsupported => stranger.kill().unwrap(),
            since => refused_since(since, stranger.kill()),
        });
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
