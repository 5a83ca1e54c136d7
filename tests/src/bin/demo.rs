//! The main job on real parts, step by step: what was expected, what the system answered.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the demo prints its summary")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use bartizan_tests::network::{
    CLIENT, CLIENT_6, Kept, Patience, SOON, WEB, WEB_6, page, pages_only,
};
use bartizan_tests::nginx::Nginx;
use bartizan_tests::process::Process;
use bartizan_tests::stack::{Guest, GuestSpec, Stack};
use clap::Parser;
use serde::Serialize;
use serde_json::{Value, json};

/// Runs the main job on real parts.
#[derive(Parser)]
struct Arguments {
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    json: bool,
}

/// One step: what the system ought to answer, and what it answered.
#[derive(Serialize)]
struct Step {
    name: &'static str,
    expected: &'static str,
    verdict: String,
    seconds: f64,
    #[serde(skip)]
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct Summary {
    ok: bool,
    steps: Vec<Step>,
}

/// What a step found: the verdict and the reasons that came with it.
type Answer = (String, Vec<String>);

#[derive(Default)]
struct Demo {
    steps: Vec<Step>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut demo = Demo::default();
    if let Err(error) = demo.run() {
        eprintln!("the demo stopped: {error:#}");
    }
    let ok =
        demo.steps.len() == STEPS && demo.steps.iter().all(|step| step.verdict == step.expected);
    let summary = Summary {
        ok,
        steps: demo.steps,
    };
    if arguments.json {
        match serde_json::to_string(&summary) {
            Ok(json) => println!("{json}"),
            Err(error) => eprintln!("the summary has no JSON form: {error}"),
        }
    } else {
        print(&summary);
    }
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How the enclave is to be.
const WELL: &str = "measured, limited, alone";
/// How many steps a whole run has.
const STEPS: usize = 14;

impl Demo {
    fn run(&mut self) -> Result<()> {
        let stack = self.keep(
            "start vaults, verifier, card, devices, hypervisor, enclave; enrol the host",
            "ready",
            || Ok((Stack::start()?, ("ready".into(), Vec::new()))),
        )?;
        self.step(
            "look at the enclave: a machine of its own, measured last, held to its limits",
            WELL,
            || enclave(&stack),
        )?;
        let mut guest = self.keep(
            "boot a Debian guest from a signed record; it enrols its key",
            "enrolled",
            || {
                let spec = GuestSpec::new("web").in_network("web", (WEB, WEB_6));
                let mut guest = stack.host.boot(&spec)?;
                let answer = enrolled(&stack, &mut guest)?;
                Ok((guest, answer))
            },
        )?;
        self.policies(&stack)?;
        self.step(
            "compute the profiles: nginx from Debian's packages, the sample from its program",
            "registered",
            || {
                stack.register_package("nginx", "/usr/sbin/nginx", "nginx")?;
                stack.register_program("bartizan-sample", "ledger")?;
                Ok(("registered".into(), Vec::new()))
            },
        )?;
        self.step(
            "attest nginx in RAM against its packages",
            "affirming",
            || attest(&mut guest, "nginx"),
        )?;
        self.step(
            "start the sample application, which works only with a valid token",
            "open",
            || sample(&mut guest, "ledger"),
        )?;
        self.step(
            "attest the same process under a name that nobody registered",
            "none",
            || attest(&mut guest, "unregistered"),
        )?;
        self.step(
            "root in the guest patches one instruction of the running nginx",
            "contraindicated",
            || {
                Nginx::of(&mut guest)?.patch(&mut guest)?;
                attest(&mut guest, "nginx")
            },
        )?;
        self.step(
            "root starts a second, clean nginx, and has that one attested",
            "contraindicated",
            || {
                let second = Nginx::start_second(&mut guest)?;
                attest_process(&mut guest, "nginx", &second.pid.to_string())
            },
        )?;
        self.step(
            "start the sample application under nginx's name",
            "shut",
            || sample(&mut guest, "nginx"),
        )
    }

    /// A second guest asks the first one for pages, by what policies say.
    fn policies(&mut self, stack: &Stack) -> Result<()> {
        let mut client = self.keep(
            "boot a second guest, which asks the first one's nginx for a page: no policy rules",
            "denied",
            || {
                let spec = GuestSpec::small("client").in_network("client", (CLIENT, CLIENT_6));
                let mut client = stack.host.boot(&spec)?;
                let answer = asked(&mut client, 5)?;
                Ok((client, answer))
            },
        )?;
        self.step(
            "push a policy that its author signed: clients may ask web servers for pages",
            "answered",
            || {
                stack.apply(1, &pages_only())?;
                asked(&mut client, 20)
            },
        )?;
        let kept = self.keep(
            "keep a connection open, which is answered again and again",
            "answered",
            || {
                let kept = Kept::open(&mut client, Patience { seconds: 5 })?;
                let answers = kept.answers(&mut client)?;
                let told = vec![format!("{answers} answers by one connection")];
                Ok((kept, ("answered".into(), told)))
            },
        )?;
        self.step(
            "push a policy that takes that back, while the connection is open",
            "cut",
            || {
                stack.apply(2, &json!([]))?;
                let then = kept.answers(&mut client)?;
                client.agent.must("sleep 3")?;
                let later = kept.answers(&mut client)?;
                // What had been answered by then may be told of late, once.
                let verdict = if later <= then + 1 { "cut" } else { "answered" };
                let told = vec![format!(
                    "{then} answers when it was in force, {later} after 3 s"
                )];
                Ok((verdict.into(), told))
            },
        )?;
        stack.operator.must(&["vm", "stop", "--force", "client"])?;
        Ok(())
    }

    fn keep<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        work: impl FnOnce() -> Result<(T, Answer)>,
    ) -> Result<T> {
        eprintln!("\u{25b8} {name}");
        let start = Instant::now();
        let result = work();
        let seconds = (start.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        let (kept, (verdict, reasons)) = match result {
            Ok((kept, answer)) => (Ok(kept), answer),
            Err(error) => {
                let reason = format!("{error:#}");
                (Err(error), ("failed".into(), vec![reason]))
            }
        };
        let mark = if verdict == expected {
            '\u{2713}'
        } else {
            '\u{2717}'
        };
        eprintln!("{mark} {verdict} ({seconds} s)");
        for reason in &reasons {
            eprintln!("    {reason}");
        }
        self.steps.push(Step {
            name,
            expected,
            verdict,
            seconds,
            reasons,
        });
        kept
    }

    fn step(
        &mut self,
        name: &'static str,
        expected: &'static str,
        work: impl FnOnce() -> Result<Answer>,
    ) -> Result<()> {
        self.keep(name, expected, || Ok(((), work()?)))
    }
}

/// What the enclave is, by what the host's processes are.
/// It is certified, and its keeper heard of, a moment after the host was enrolled.
fn enclave(stack: &Stack) -> Result<Answer> {
    let began = Instant::now();
    loop {
        let answer = look_at_enclave(stack)?;
        if answer.0 == WELL || began.elapsed() > SOON {
            return Ok(answer);
        }
    }
}

fn look_at_enclave(stack: &Stack) -> Result<Answer> {
    let keeper = Process::of(stack.host.keeper().pid()?)?;
    let machine = keeper.children()?;
    let [qemu] = machine.as_slice() else {
        return Ok((format!("{} machines", machine.len()), Vec::new()));
    };
    let maps_guests = qemu
        .mappings()?
        .iter()
        .any(|mapping| mapping.path.starts_with("/memfd:bartizan-ram"));
    let shown = stack.operator.run(&["enclave", "status"])?.json;
    let measured = &shown["measured"];
    let digest = |name: &str| measured[name].as_str().and_then(|digest| digest.get(..16));
    let used = &shown["machine"]["use"];
    let limit = |name: &str, limit: &str| used[name][limit].as_u64();
    let limits = [
        limit("memory", "limit").map(|bytes| bytes >> 20),
        limit("threads", "limit"),
        limit("cpu", "limit_percent"),
    ];
    let until = shown["certified"]["until"].as_str();
    let verdict = match (digest("kernel"), digest("image"), limits, until) {
        _ if maps_guests => "maps a guest",
        (None, ..) | (_, None, ..) => "not measured",
        (.., None) => "not certified",
        (Some(kernel), Some(image), [Some(memory), Some(threads), Some(cpu)], Some(until)) => {
            let reasons = vec![
                format!("measured: kernel {kernel}, image {image}"),
                format!("limits: {memory} MiB, {threads} threads, {cpu} % of a processor"),
                format!("certified until {until}"),
            ];
            return Ok((WELL.into(), reasons));
        }
        _ => "not limited",
    };
    Ok((verdict.into(), Vec::new()))
}

/// Asks for a page.
fn asked(client: &mut Guest, seconds: u32) -> Result<Answer> {
    let verdict = match page(client, seconds)? {
        true => "answered",
        false => "denied",
    };
    Ok((verdict.into(), Vec::new()))
}

fn enrolled(stack: &Stack, guest: &mut Guest) -> Result<Answer> {
    guest
        .agent
        .must("systemctl is-active --quiet bartizan-enroll nginx")?;
    let shown = stack.operator.must(&["vm", "show", &guest.name])?;
    let verdict = if shown["enrolled"] == true {
        "enrolled"
    } else {
        "not enrolled"
    };
    Ok((
        verdict.into(),
        vec![shown["guest"].as_str().unwrap_or_default().to_owned()],
    ))
}

/// Attests the guest's nginx under a name; the verdict is the token's.
fn attest(guest: &mut Guest, application: &str) -> Result<Answer> {
    attest_process(guest, application, "$(cat /run/nginx.pid)")
}

fn attest_process(guest: &mut Guest, application: &str, pid: &str) -> Result<Answer> {
    let (_, answer) = guest.attest(&format!("--application {application} --pid {pid}"))?;
    let verdict = answer["status"]
        .as_str()
        .or(answer["error"].as_str())
        .unwrap_or("no answer")
        .to_owned();
    Ok((verdict, texts(&answer["reasons"])))
}

fn sample(guest: &mut Guest, application: &str) -> Result<Answer> {
    let outcome = guest.agent.run(&format!(
        "/opt/bartizan/bin/bartizan-sample --application {application}"
    ))?;
    let verdict = if outcome.code == Some(0) {
        "open"
    } else {
        "shut"
    };
    let said = if outcome.code == Some(0) {
        outcome.stdout
    } else {
        outcome.stderr
    };
    Ok((verdict.into(), said.lines().map(str::to_owned).collect()))
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn print(summary: &Summary) {
    println!();
    for step in &summary.steps {
        let mark = if step.verdict == step.expected {
            '\u{2713}'
        } else {
            '\u{2717}'
        };
        println!("{mark} {}", step.name);
        println!("    answered: {} ({} s)", step.verdict, step.seconds);
        for reason in step.reasons.iter().take(3) {
            println!("    {reason}");
        }
    }
    let verdict = if summary.ok {
        "every answer is as expected"
    } else {
        "NOT as expected"
    };
    println!("\n{verdict}");
}
