//! `bartizan flow`: who a guest speaks to, by which rule, and what is said.

mod file;
mod seen;
mod shown;
mod which;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use bartizan_attestation::host::{FlowsSeen, FlowsTally};
use bartizan_attestation::operation::{CaptureLimits, MAX_SECONDS, MAX_SNAP, Operation};
use clap::Subcommand;
use serde_json::json;

use crate::card::Card;
use crate::output::Output;
use file::CaptureFile;
use seen::{Line, bytes};
pub(crate) use shown::ShownError;
use shown::{Listed, Room, ended};
use which::Which;

#[derive(Subcommand)]
pub(crate) enum Flow {
    /// The flows of a guest: those that there are, and the latest of those that are over.
    ///
    /// A flow is what the guest's policies decide on: a TCP connection, datagrams between the same two ends, an echo. Of each there is who
    /// began it, what has passed, what was refused, what was decided and by which rule. What is known to be denied takes no place: attempts
    /// at it are one line. Frames count as the guest's driver has them: one may hold 64 KiB.
    ///
    /// A list that broke off is not shown.
    ///
    /// Exit code: 0 shown, 1 refused, 2 wrong usage, 69 the card, its hypervisor or its devices are away, or the list broke off.
    #[command(
        after_help = "Examples:\n  bartizan flow list web\n  bartizan flow list web --protocol tcp --port 443\n  bartizan flow list web --address 10.0.0.0/8 --json"
    )]
    List {
        /// The guest's name or UUID.
        vm: String,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        card: Card,
    },
    /// Each flow of a guest as it ends, until the time is over or this is interrupted.
    ///
    /// With `--json` each is one line. What cannot be told in time is left out and counted; no guest waits for it.
    ///
    /// Exit code: 0 the time is over, the guest has ended or nobody reads standard output any more, 1 refused, 2 wrong usage, 69 the card, its hypervisor or its devices are away.
    #[command(
        after_help = "Examples:\n  bartizan flow watch web\n  bartizan flow watch web --protocol udp --port 53 --seconds 60 --json"
    )]
    Watch {
        /// The guest's name or UUID.
        vm: String,
        #[command(flatten)]
        which: Which,
        /// For so many seconds.
        #[arg(long, default_value_t = MAX_SECONDS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SECONDS)))]
        seconds: u32,
        #[command(flatten)]
        card: Card,
    },
    /// The packets of a guest's flows, as a pcap file: what the guest sent, allowed or not, and what it was given.
    ///
    /// What the guest sent is there once its headers could be read: without fragments, VLAN tags, IPv4 options, other types than ARP and IP,
    /// and what is malformed or too long, none of which passes. The log of the host's devices counts those by their reason.
    ///
    /// It holds what the guest and others say, so that it needs an administrator, and the log of the host has it (`bartizan host log`). It
    /// ends with the first of its limits, or when it is interrupted: what is in the file by then is whole. What cannot be written in time is
    /// left out and counted; no guest waits for it. Times have nanoseconds; checksums and segments are as the guest's driver leaves them to
    /// its device, as in any capture on a host.
    ///
    /// Exit code: 0 captured, 1 refused or not written, 2 wrong usage, 69 the card, its hypervisor or its devices are away.
    #[command(
        after_help = "Examples:\n  bartizan flow capture web --output web.pcap\n  bartizan flow capture web --output web.pcap --protocol tcp --port 443 --packets 1000 --seconds 30\n  bartizan flow capture web --output - --snap 96 | tcpdump -nr -"
    )]
    Capture {
        /// The guest's name or UUID.
        vm: String,
        #[command(flatten)]
        which: Which,
        /// The file that is made, which only you may read; `-` is standard output, where that is no terminal.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
        /// At most so many packets.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
        packets: u64,
        /// At most so many bytes of packets.
        #[arg(long, default_value_t = 64 << 20, value_parser = clap::value_parser!(u64).range(1..))]
        bytes: u64,
        /// At most so many bytes of each packet.
        #[arg(long, default_value_t = MAX_SNAP, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SNAP)))]
        snap: u32,
        /// For at most so many seconds.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SECONDS)))]
        seconds: u32,
        #[command(flatten)]
        card: Card,
    },
}

pub(crate) fn run(command: Flow, output: Output) -> Result<ExitCode> {
    match command {
        Flow::List { vm, which, card } => list(vm, &which, &card, output)?,
        Flow::Watch {
            vm,
            which,
            seconds,
            card,
        } => watch(vm, &which, seconds, &card, output)?,
        Flow::Capture {
            vm,
            which,
            output: file,
            packets,
            bytes,
            snap,
            seconds,
            card,
        } => {
            let limits = CaptureLimits {
                packets,
                bytes,
                snap,
                seconds,
            };
            capture(vm, &which, file, limits, &card, output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(vm: String, which: &Which, card: &Card, output: Output) -> Result<()> {
    let filter = which.filter();
    let mut listed = Listed::default();
    let (why, tally) = card.observe(Operation::ListFlows { vm, filter }, |seen| {
        if let FlowsSeen::Flows(more) = seen {
            listed.add(more)?;
        }
        Ok(())
    })?;
    let flows = listed.complete(why, tally)?;
    let rows = flows.iter().map(seen::row).collect();
    let lines = flows.iter().map(|flow| Line::of(flow).cells()).collect();
    output.list(&rows, &Line::COLUMNS, lines);
    Ok(())
}

fn watch(vm: String, which: &Which, seconds: u32, card: &Card, output: Output) -> Result<()> {
    let watched = tell_ends(vm, which, seconds, card, output);
    let has_left = |error: &anyhow::Error| {
        let error = error.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match watched {
        // As by `| head`: whoever read has enough.
        Err(error) if has_left(&error) => Ok(()),
        watched => watched,
    }
}

fn tell_ends(vm: String, which: &Which, seconds: u32, card: &Card, output: Output) -> Result<()> {
    let filter = which.filter();
    let watched = Operation::WatchFlows {
        vm,
        filter,
        seconds,
    };
    let mut dropped = 0;
    if !output.is_json() {
        let columns = seen::watched(&Line::COLUMNS.map(str::to_uppercase));
        output.line(&json!(null), &columns)?;
    }
    let (why, tally) = card.observe(watched, |seen| {
        match seen {
            FlowsSeen::Flows(flows) => {
                for flow in flows {
                    let line = seen::watched(&Line::of(&flow).cells());
                    output.line(&seen::row(&flow), &line)?;
                }
            }
            FlowsSeen::Going(tally) if tally.dropped > dropped => {
                dropped = tally.dropped;
                eprintln!("bartizan: {dropped} flows are left out, they were not read in time");
            }
            _ => {}
        }
        Ok(())
    })?;
    eprintln!("bartizan: {} flows have ended; {}", tally.told, ended(why));
    Ok(())
}

fn capture(
    vm: String,
    which: &Which,
    file: PathBuf,
    limits: CaptureLimits,
    card: &Card,
    output: Output,
) -> Result<()> {
    let filter = which.filter();
    let (mut file, mut room) = (CaptureFile::make(file)?, Room::of(limits));
    let captured = Operation::CaptureFlows { vm, filter, limits };
    let mut said = None;
    let done = card.observe(captured, |seen| {
        match seen {
            FlowsSeen::Pcap(bytes) => {
                room.take(&bytes)?;
                file.write(&bytes)?;
            }
            FlowsSeen::Going(tally) if said != Some(tally) => {
                said = Some(tally);
                eprintln!("bartizan: capturing: {}", so_far(tally));
            }
            _ => {}
        }
        Ok(())
    });
    let (why, tally) = match done {
        Ok(done) => done,
        Err(error) => {
            file.leave();
            return Err(error);
        }
    };
    let sentence = format!("{}: {}; {}", file.name(), so_far(tally), ended(why));
    if file.is_standard_output() {
        eprintln!("bartizan: {sentence}");
        return Ok(());
    }
    let shown = json!({
        "ok": true,
        "file": file.name(),
        "packets": tally.told,
        "bytes": tally.bytes,
        "dropped": tally.dropped,
        "ended": why.word(),
    });
    output.result(&shown, &sentence);
    Ok(())
}

fn so_far(tally: FlowsTally) -> String {
    let mut text = format!("{} packets, {}", tally.told, bytes(tally.bytes));
    if tally.dropped > 0 {
        text += &format!(
            ", {} left out, which were not read in time: a filter or a smaller --snap helps",
            tally.dropped
        );
    }
    text
}
