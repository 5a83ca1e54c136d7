//! One list of cases for every back end of the vault, against a real swtpm and a real SoftHSM.
//!
//! Each case runs in a process of its own: a PKCS #11 module is one for the whole process, and SoftHSM takes its
//! configuration from the environment.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "conformance/cases.rs"]
mod cases;
#[path = "conformance/programs.rs"]
mod programs;
#[path = "conformance/rig.rs"]
mod rig;
#[path = "conformance/served.rs"]
mod served;
#[path = "conformance/softhsm.rs"]
mod softhsm;
#[path = "conformance/software.rs"]
mod software;
#[path = "conformance/swtpm.rs"]
mod swtpm;
#[path = "conformance/softhsm/tokens.rs"]
mod tokens;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};
use rig::Rig;

/// Names the case to the child.
const CASE: &str = "BARTIZAN_TEST_CASE";
/// Where the child keeps its files.
const FOLDER: &str = "BARTIZAN_TEST_FOLDER";

/// A case, and what it is called.
type Case = (&'static str, fn(&dyn Rig));

/// A back end, how it is set up in a folder, and the cases that it alone has.
type BackEnd = (&'static str, fn(&Path) -> Box<dyn Rig>, &'static [Case]);

const BACK_ENDS: &[BackEnd] = &[
    ("software", software::set_up, &[]),
    ("tpm2", swtpm::set_up, swtpm::CASES),
    ("pkcs11", softhsm::set_up, softhsm::CASES),
    ("pkcs11_served", served::set_up, &[]),
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CASE) {
        run(&name, &PathBuf::from(std::env::var_os(FOLDER).unwrap()));
        return ExitCode::SUCCESS;
    }
    let trials = names().map(|name| Trial::test(name.clone(), move || in_child(&name)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn names() -> impl Iterator<Item = String> {
    BACK_ENDS.iter().flat_map(|(back_end, _, own)| {
        let cases = cases::CASES.iter().chain(*own);
        cases.map(move |(case, _)| format!("{back_end}::{case}"))
    })
}

fn in_child(name: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(std::env::current_exe()?)
        .env(CASE, name)
        .env(FOLDER, folder.path())
        .env("SOFTHSM2_CONF", tokens::configuration(folder.path()))
        .envs([served::environment(folder.path())])
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{said}", output.status).into())
}

fn run(name: &str, folder: &Path) {
    let (back_end, case) = name.split_once("::").unwrap();
    let (_, set_up, own) = BACK_ENDS
        .iter()
        .find(|(name, ..)| *name == back_end)
        .unwrap();
    let mut cases = cases::CASES.iter().chain(*own);
    let (_, check) = cases.find(|(name, _)| *name == case).unwrap();
    check(&*set_up(folder));
}
