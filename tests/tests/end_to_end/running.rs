//! `bartizan-guest run`: what is affirmed runs on, whatever becomes of it; what is not is ended with all that it started.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, GuestSpec};

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[(
    "running::affirmed_programs_run_on_and_others_are_ended_with_all_that_they_started",
    running,
)];

/// The tool; options and the program follow.
const RUN: &str = "/opt/bartizan/bin/bartizan-guest run --application nginx";
/// How long the tool may take to have a program judged, or to end it.
const PATIENCE: Duration = Duration::from_secs(90);
/// A server of its own: one worker, nothing of the guest's nginx.
const CONFIGURATION: &str =
    "pid /run/ran.pid; error_log /run/ran.log; worker_processes 1; events {}";
/// A library that nginx has no need of; the profile does not know it.
const FOREIGN: &str = "LD_PRELOAD=/lib/x86_64-linux-gnu/libutil.so.1";
/// In the foreground, and as a daemon: its parent ends, and so does its parent's.
const WAYS: [&str; 2] = ["off", "on"];

fn running(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let guest = &mut stack.host.boot(&GuestSpec {
        memory_mib: 512,
        ..GuestSpec::new("runs")
    })?;
    guest.agent.must("systemctl stop nginx")?;
    // The guest image renews the key in time.
    guest.agent.must("systemctl is-active bartizan-renew")?;
    for daemon in WAYS {
        guest.agent.must(&format!(
            "printf 'daemon {daemon}; {CONFIGURATION}' >/run/ran.conf"
        ))?;
        affirmed(guest).with_context(|| format!("nginx, daemon {daemon}"))?;
        refused(guest).with_context(|| format!("nginx, daemon {daemon}, {FOREIGN}"))?;
    }
    guest
        .agent
        .must("sed -i 's/daemon on/daemon off/' /run/ran.conf")?;
    killed(guest)?;
    none_to_run(guest)?;
    no_room(guest)?;
    let shown = stack.operator.must(&["vm", "show", "runs"])?;
    no_verdict(guest, Process::of_json(&shown["measurer_pid"])?)?;
    another_user(guest)?;
    stack.operator.must(&["vm", "stop", "--force", "runs"])?;
    Ok(())
}

/// It runs until the tool is told to end, and the tool ends as it does.
fn affirmed(guest: &mut Guest) -> Result<()> {
    let tool = Tool::start(guest, "", "")?;
    tool.wait_for(guest, "nginx is affirmed")?;
    master_and_worker(guest)?;
    guest.agent.must(&format!("kill -TERM {}", tool.pid))?;
    let code = tool.end(guest)?;
    ensure!(code == 0, "ended with {code}: {}", tool.said(guest)?);
    ensure!(processes(guest)? == 0, "nginx runs on");
    Ok(())
}

/// It is ended before the tool ends, its worker too.
fn refused(guest: &mut Guest) -> Result<()> {
    let tool = Tool::start(guest, FOREIGN, "")?;
    let code = tool.end(guest)?;
    let said = tool.said(guest)?;
    ensure!(code == 1, "ended with {code}: {said}");
    ensure!(said.contains("libutil"), "another reason: {said}");
    ensure!(processes(guest)? == 0, "nginx runs on: {said}");
    Ok(())
}

/// The verdict waits for the measurer.
fn no_verdict(guest: &mut Guest, measurer: Process) -> Result<()> {
    measurer.stop()?;
    let ended = told_while_measured(guest).and_then(|()| late(guest));
    measurer.go_on()?;
    ended
}

/// A program whose judgement does not end is not left running.
fn late(guest: &mut Guest) -> Result<()> {
    let tool = Tool::start(guest, "", "--patience 5 --timeout 5")?;
    let code = tool.end(guest)?;
    let said = tool.said(guest)?;
    ensure!(code == 1, "ended with {code}: {said}");
    ensure!(said.contains("no verdict within 10 s"), "{said}");
    ensure!(processes(guest)? == 0, "nginx runs on");
    Ok(())
}

/// A tool that is told to end before there is a verdict ends what it started first.
fn told_while_measured(guest: &mut Guest) -> Result<()> {
    let tool = Tool::start(guest, "", "")?;
    master_and_worker(guest)?;
    guest.agent.must(&format!("kill -TERM {}", tool.pid))?;
    let code = tool.end(guest)?;
    let said = tool.said(guest)?;
    ensure!(code == 128 + 15, "ended with {code}: {said}");
    ensure!(!said.contains("affirmed"), "there was a verdict: {said}");
    ensure!(processes(guest)? == 0, "nginx runs on");
    Ok(())
}

/// The program dies with a tool that is killed.
fn killed(guest: &mut Guest) -> Result<()> {
    let tool = Tool::start(guest, "", "")?;
    tool.wait_for(guest, "nginx is affirmed")?;
    let master = guest.agent.must("cat /run/ran.pid")?;
    guest.agent.must(&format!(
        "kill -KILL {} && timeout 60 tail --pid={} -f /dev/null",
        tool.pid,
        master.trim()
    ))?;
    // What the program itself started is left.
    guest.agent.must(
        "for pid in $(ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n 's:.* /proc/\\([0-9]*\\)/exe -> .*/nginx$:\\1:p'); do kill -KILL $pid; done",
    )?;
    Ok(())
}

/// What is no program is said to be none.
fn none_to_run(guest: &mut Guest) -> Result<()> {
    let ran = guest
        .agent
        .run(&format!("{RUN} -- /usr/sbin/nowhere </dev/null"))?;
    ensure!(
        ran.code == Some(1) && ran.stderr.contains("there is no program"),
        "{ran:?}"
    );
    Ok(())
}

/// A tool that may have no further thread, or no further process, leaves nothing running.
fn no_room(guest: &mut Guest) -> Result<()> {
    let group = "/sys/fs/cgroup/crowded";
    guest.agent.must(&format!("mkdir {group}"))?;
    for (tasks, says) in [(1, "no thread can be started"), (2, "could not be started")] {
        let ran = guest.agent.run(&format!(
            "echo {tasks} >{group}/pids.max && echo $$ >{group}/cgroup.procs && \
             exec {RUN} -- nginx -c /run/ran.conf </dev/null"
        ))?;
        ensure!(
            ran.code == Some(1) && ran.stderr.contains(says),
            "{tasks}: {ran:?}"
        );
        ensure!(processes(guest)? == 0, "nginx runs");
    }
    guest.agent.must(&format!("rmdir {group}"))?;
    Ok(())
}

/// A program of another user is affirmed like one of root's.
fn another_user(guest: &mut Guest) -> Result<()> {
    guest.agent.must(
        "install -d -o www-data /run/www && sed -i 's:/run/ran:/run/www/ran:g' /run/ran.conf",
    )?;
    let tool = Tool::start(guest, "", "--user www-data")?;
    tool.wait_for(guest, "nginx is affirmed")?;
    master_and_worker(guest)?;
    let whose = "stat -c %U /proc/$(cat /run/www/ran.pid)/cmdline";
    let user = guest.agent.must(whose)?;
    ensure!(user.trim() == "www-data", "it is {user}'s");
    guest.agent.must(&format!("kill -TERM {}", tool.pid))?;
    let code = tool.end(guest)?;
    ensure!(code == 0, "ended with {code}: {}", tool.said(guest)?);
    ensure!(processes(guest)? == 0, "nginx runs on");
    Ok(())
}

/// Waits until both run.
fn master_and_worker(guest: &mut Guest) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while processes(guest)? != 2 {
        ensure!(Instant::now() < deadline, "a master and a worker are due");
    }
    Ok(())
}

/// How many nginxes run.
fn processes(guest: &mut Guest) -> Result<u32> {
    let found = guest
        .agent
        .must("ls -l /proc/[0-9]*/exe 2>/dev/null | grep -c '/nginx$'; true")?;
    Ok(found.trim().parse()?)
}

/// The tool, running nginx in the background of the guest.
struct Tool {
    pid: u32,
}

impl Tool {
    fn start(guest: &mut Guest, environment: &str, options: &str) -> Result<Self> {
        let tool = format!("exec env {environment} {RUN} {options} -- nginx -c /run/ran.conf");
        // It tells through a pipe, so that we return when it is there, and holds none of our shell's.
        let pid = guest.agent.must(&format!(
            "rm -f /run/tool.* && mkfifo /run/tool.pid && \
             {{ {{ sh -c 'echo $$ >/run/tool.pid; {tool}' >/run/tool.said 2>&1; echo $? >/run/tool.code; }} \
                </dev/null >/dev/null 2>&1 & }} && cat /run/tool.pid"
        ))?;
        let pid = pid.trim().parse()?;
        Ok(Self { pid })
    }

    fn said(&self, guest: &mut Guest) -> Result<String> {
        guest.agent.must("cat /run/tool.said")
    }

    fn wait_for(&self, guest: &mut Guest, words: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.said(guest)?;
            if said.contains(words) {
                return Ok(());
            }
            if guest.agent.run("test -e /run/tool.code")?.code == Some(0) {
                bail!("it ended: {}", self.said(guest)?);
            }
            ensure!(Instant::now() < deadline, "it says only {said:?}");
        }
    }

    /// Waits for its end; its exit code.
    fn end(&self, guest: &mut Guest) -> Result<i32> {
        let waits = format!(
            "timeout {} tail --pid={} -f /dev/null",
            PATIENCE.as_secs(),
            self.pid
        );
        guest.agent.must(&waits)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let code = guest.agent.must("cat /run/tool.code 2>/dev/null; true")?;
            if let Ok(code) = code.trim().parse() {
                return Ok(code);
            }
            ensure!(Instant::now() < deadline, "its exit code is not known");
        }
    }
}
