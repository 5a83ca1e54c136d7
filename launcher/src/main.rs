//! `bartizan-launcher`: boots a host, then keeps what it started running.

#![forbid(unsafe_code)]

mod arguments;

use std::fs;
use std::process::ExitCode;

use bartizan_boot::{CoordinatorAnswer, CoordinatorStep, Phase, Refusal};
use bartizan_cose::PublicKey;
use bartizan_launcher::boot::{Boot, Card, CoordinatorPhase, Done, Hypervisor, Stopped};
use bartizan_launcher::confinement;
use bartizan_launcher::coordinator::Coordinator;
use bartizan_launcher::family::Family;
use bartizan_launcher::firmware;
use bartizan_local::Notifier;

use arguments::Arguments;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            eprintln!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("bartizan-launcher: {error}\n\n{}", arguments::HELP);
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bartizan-launcher: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let read = |path: &std::path::Path| {
        fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let manifest = read(&arguments.manifest)?;
    let key = PublicKey::from_spki_der(&read(&arguments.release_key)?)
        .map_err(|error| format!("{}: {error}", arguments.release_key.display()))?;
    let firmware = firmware::log(&arguments.firmware_log);
    confinement::confine()?;
    let family = Family::new(arguments.state_dir, arguments.log_dir);
    let notifier = Notifier::from_env()?.never_waiting()?;
    let (mut host, stopped) = match boot(&manifest, &key, firmware, family) {
        Ok(boot) => {
            eprintln!("the boot is done");
            say(&notifier, "READY=1");
            (boot.into_host(), None)
        }
        Err(stopped) => {
            let Stopped { host, refusal } = *stopped;
            let status = format!("the boot is stopped: {refusal}");
            eprintln!("{status}");
            say(&notifier, &format!("STATUS={}", in_a_line(&status)));
            (host, Some(status))
        }
    };
    host.watch(|status| say(&notifier, &format!("STATUS={}", in_a_line(status))))?;
    // Nothing runs any more that could end.
    match stopped {
        Some(stopped) => Err(stopped.into()),
        None => Ok(()),
    }
}

/// A service manager that has gone, or does not listen, is told nothing: what runs is kept running all the same.
fn say(notifier: &Notifier, state: &str) {
    if let Err(error) = notifier.say(state) {
        eprintln!("the service manager is not told: {error}");
    }
}

/// What others have said in one line of bounded length, so that it is not taken for more than that.
fn in_a_line(text: &str) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(1000).map(line).collect()
}

fn boot(
    manifest: &[u8],
    key: &PublicKey,
    firmware: Option<Vec<u8>>,
    family: Family,
) -> Result<Boot<Done>, Box<Stopped>> {
    let boot = Boot::<Card>::begin(manifest, key, firmware, family)?;
    let (boot, stage) = boot.card()?.devices()?;
    let (boot, stage) = fetched(boot, stage)?;
    launched(boot, stage)
}

/// Until the first stage has brought the bundle.
fn fetched(
    boot: Boot<CoordinatorPhase>,
    mut stage: Coordinator,
) -> Result<(Boot<Hypervisor>, Coordinator), Box<Stopped>> {
    match stage.listen() {
        Ok(Some(CoordinatorStep::Bundle(bundle))) => answered(boot.bundle(&bundle), &mut stage),
        said => Err(Box::new(boot.stop(unexpected(said, Phase::Coordinator)))),
    }
}

/// Until the second stage has launched hypervisor and enclave.
fn launched(boot: Boot<Hypervisor>, mut stage: Coordinator) -> Result<Boot<Done>, Box<Stopped>> {
    let boot = match stage.listen() {
        Ok(Some(CoordinatorStep::Launch(Phase::Hypervisor))) => {
            answered(boot.launch(), &mut stage)?
        }
        said => return Err(Box::new(boot.stop(unexpected(said, Phase::Hypervisor)))),
    };
    match stage.listen() {
        Ok(Some(CoordinatorStep::Launch(Phase::Enclave))) if boot.has_enclave() => {
            answered(boot.launch(), &mut stage)
        }
        Ok(Some(CoordinatorStep::Launch(Phase::Enclave))) => {
            let boot = boot.without_enclave()?;
            stage.answer(&CoordinatorAnswer::Nothing);
            Ok(boot)
        }
        said => Err(Box::new(boot.stop(unexpected(said, Phase::Enclave)))),
    }
}

/// Tells the stage how what it asked for went.
fn answered<T>(done: Result<T, Box<Stopped>>, stage: &mut Coordinator) -> Result<T, Box<Stopped>> {
    stage.answer(&match &done {
        Ok(_) => CoordinatorAnswer::Done,
        Err(stopped) => CoordinatorAnswer::Stopped(stopped.refusal.clone()),
    });
    done
}

fn unexpected(said: Result<Option<CoordinatorStep>, Refusal>, phase: Phase) -> Refusal {
    match said {
        Err(refusal) => refusal,
        // In few words of its own, however many the stage made.
        Ok(Some(CoordinatorStep::Fail(refusal))) => {
            Refusal::Manifest(in_a_line(&refusal.to_string()))
        }
        Ok(None) => Refusal::Manifest(format!("the coordinator ended before phase {phase}")),
        Ok(Some(CoordinatorStep::Bundle(_) | CoordinatorStep::Launch(_))) => Refusal::Manifest(
            format!("the coordinator asked for something else than phase {phase}"),
        ),
    }
}
