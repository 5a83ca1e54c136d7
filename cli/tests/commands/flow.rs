//! `bartizan flow`: what a card shows piece by piece.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use bartizan_attestation::host::{
    FlowShown, FlowsEnd, FlowsSeen, FlowsTally, OperationReply, OperatorRefusal, OperatorReply,
};
use bartizan_attestation::operation::Operation;
use serde_json::Value;

use super::{Installed, card_that_shows, json};

fn piece(seen: FlowsSeen) -> OperationReply {
    OperationReply::Guests(OperatorReply::Seen(seen))
}

fn ended(why: FlowsEnd, told: u64) -> OperationReply {
    let tally = FlowsTally {
        told,
        ..FlowsTally::default()
    };
    piece(FlowsSeen::Ended { why, tally })
}

fn flow(began_ms: u64) -> FlowShown {
    FlowShown {
        by_guest: true,
        protocol: 6,
        local: "10.77.0.2".parse().unwrap(),
        peer: "10.77.0.1".parse().unwrap(),
        begun_port: Some(40_000),
        port: Some(80),
        icmp_type: None,
        outside: false,
        began_ms,
        last_ms: began_ms,
        sent: (1, 60),
        received: (1, 60),
        refused: 0,
        decision: None,
        end: None,
    }
}

#[test]
fn a_capture_that_does_not_begin_leaves_no_file_and_writes_over_none() {
    let installed = Installed::new();
    installed.certify_operator();
    let file = installed.path("web.pcap");
    let capture = |more: &[&str]| {
        let nobody = installed.path("nobody.sock");
        let arguments = ["flow", "capture", "web", "--card", nobody.to_str().unwrap()];
        let into = ["--output", file.to_str().unwrap()];
        installed.run(&[&arguments[..], &into, more].concat(), "")
    };
    let away = capture(&[]);
    assert_eq!(away.status.code(), Some(69), "{away:?}");
    let said = String::from_utf8(away.stderr).unwrap();
    assert!(said.contains("does bartizan-card run?"), "{said}");
    assert!(!file.exists());
    for wrong in [
        ["--protocol", "http"],
        ["--address", "10.0.0.0/33"],
        ["--port", "9-8"],
        ["--packets", "0"],
        ["--snap", "65550"],
        ["--seconds", "3601"],
    ] {
        let refused = capture(&wrong);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
    fs::write(&file, "theirs").unwrap();
    let taken = capture(&[]);
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
}

/// Known attack: a list breaks off, and what is missing seems not to be there.
#[test]
fn a_list_is_shown_whole_or_not_at_all() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let list = ["--json", "flow", "list", "web", "--card"];
    let list = [&list[..], &[socket.to_str().unwrap()]].concat();
    let flows = || piece(FlowsSeen::Flows(vec![flow(2), flow(1)]));
    let away = OperatorReply::Refused(OperatorRefusal::DevicesAway("x".into()));
    for (last, code) in [
        (ended(FlowsEnd::Complete, 2), 0),
        (ended(FlowsEnd::Complete, 3), 1),
        (ended(FlowsEnd::Gone, 2), 69),
        (ended(FlowsEnd::Time, 2), 69),
        (OperationReply::Guests(away), 69),
    ] {
        let serving = card_that_shows(&socket, vec![flows(), last]);
        let output = installed.run(&list, "");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let ordered = serving.join().unwrap().0.operation;
        assert!(matches!(ordered, Operation::ListFlows { .. }));
        match code {
            0 => {
                let shown = json(&output);
                assert_eq!([&shown[0]["began_ms"], &shown[1]["began_ms"]], [1, 2]);
            }
            _ => assert_eq!(json(&output)["ok"], false),
        }
        fs::remove_file(&socket).unwrap();
    }
}

/// Known attack: whoever answers in the card's place fills the operator's disk.
#[test]
fn a_capture_is_no_longer_than_was_ordered() {
    let installed = Installed::new();
    installed.certify_operator();
    let (socket, file) = (installed.path("card.sock"), installed.path("web.pcap"));
    let pcap = |size| piece(FlowsSeen::Pcap(vec![7; size]));
    // The file's header and one packet's, and a packet that goes beyond the limit of bytes.
    let pieces = vec![pcap(24), pcap(16 + 10 + 20), pcap(1), pcap(1 << 16)];
    let serving = card_that_shows(&socket, pieces);
    let capture = [
        "flow",
        "capture",
        "web",
        "--packets",
        "1",
        "--bytes",
        "10",
        "--snap",
        "20",
        "--output",
    ];
    let places = [file.to_str().unwrap(), "--card", socket.to_str().unwrap()];
    let output = installed.run(&[&capture[..], &places].concat(), "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("more was shown than was ordered"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), [7; 70]);
    serving.join().unwrap();
}

/// Known attack: a guest sends what a terminal takes for commands.
#[test]
fn packets_are_written_to_no_terminal() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let card = UnixListener::bind(&socket).unwrap();
    card.set_nonblocking(true).unwrap();
    let terminal = File::options().read(true).write(true).open("/dev/ptmx");
    let output = Command::new(installed.path("bartizan"))
        .args(["flow", "capture", "web", "--output", "-", "--card"])
        .arg(&socket)
        .env("BARTIZAN_OPERATOR", installed.path("operator"))
        .stdin(Stdio::null())
        .stdout(terminal.unwrap())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is a terminal"), "{said}");
    // Nothing was ordered.
    let asked = card.accept().map(drop).unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
}

/// `bartizan flow watch web | head -n 1`.
#[test]
fn a_watch_ends_quietly_once_nobody_reads() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let (show, shown) = mpsc::channel();
    let serving = card_that_shows(&socket, shown);
    let mut child = Command::new(installed.path("bartizan"))
        .args(["--json", "flow", "watch", "web", "--card"])
        .arg(&socket)
        .env("BARTIZAN_OPERATOR", installed.path("operator"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    show.send(piece(FlowsSeen::Flows(vec![flow(1)]))).unwrap();
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["began_ms"], 1);
    drop(reader);
    show.send(piece(FlowsSeen::Flows(vec![flow(2)]))).unwrap();
    let ended = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(ended.code(), Some(0), "{said}");
    // Which host it is, and no more.
    assert_eq!(said.lines().count(), 1, "{said}");
    drop(show);
    serving.join().unwrap();
}

/// `bartizan flow list web | true`; and into a file for which there is no room.
#[test]
fn a_list_that_nobody_reads_is_no_failure_and_one_that_cannot_be_written_is() {
    let installed = Installed::new();
    installed.certify_operator();
    let socket = installed.path("card.sock");
    let list = |stdout: Stdio| {
        let flows = piece(FlowsSeen::Flows(vec![flow(1)]));
        let serving = card_that_shows(&socket, vec![flows, ended(FlowsEnd::Complete, 1)]);
        let child = Command::new(installed.path("bartizan"))
            .args(["flow", "list", "web", "--card"])
            .arg(&socket)
            .env("BARTIZAN_OPERATOR", installed.path("operator"))
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        serving.join().unwrap();
        fs::remove_file(&socket).unwrap();
        (
            child.status.code(),
            String::from_utf8(child.stderr).unwrap(),
        )
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, said) = list(writer.into());
    assert_eq!(
        (code, said.contains("panicked")),
        (Some(0), false),
        "{said}"
    );
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (code, said) = list(full.into());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be written"), "{said}");
}
