//! A kernel that cannot confine a stage: a process that it has no such calls for executes it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use bartizan_confinement::Filter;
use bartizan_confinement::system_call::always;

use crate::stage::Stage;

/// Names the stage and what the kernel lacks to the child.
const ACT: &str = "BARTIZAN_TEST_ACT";

#[test]
fn a_stage_that_cannot_be_confined_stops_the_boot() {
    for stage in ["stage1", "stage2"] {
        for (lacks, why) in [
            ("landlock", "Landlock cannot guard files"),
            ("seccomp", "the kernel refused the filter of system calls"),
            ("dumps", "could not be made undumpable"),
        ] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--exact", "--ignored", "--test-threads=1"])
                .arg("unconfined::child_process")
                .env(ACT, format!("{stage} {lacks}"));
            Stage::start(command).refuses(&[why]);
        }
    }
}

#[test]
#[ignore = "the child process of the test above"]
fn child_process() {
    // Also run by whoever runs all ignored tests: there is nothing to do then.
    let Ok(act) = std::env::var(ACT) else { return };
    let (stage, lacks) = act.split_once(' ').unwrap();
    let call = match lacks {
        "landlock" => libc::SYS_landlock_create_ruleset,
        "seccomp" => libc::SYS_seccomp,
        "dumps" => libc::SYS_prlimit64,
        other => panic!("unknown lack {other}"),
    };
    let absent = [always(call, "an older kernel")];
    let installed = Filter::all_but(&[], &absent).unwrap().install();
    // A filter has parts: where it is the call itself that is absent, the last one, which is empty, cannot be added any more.
    assert_eq!(installed.is_err(), lacks == "seccomp");
    let mut command = Command::new(Stage::program(stage));
    if stage == "stage1" {
        // Neither is what it should be: it does not come to see that.
        let file = std::env::current_exe().unwrap();
        command.arg("--release-key").arg(&file);
        command.arg("--bundle").arg(&file);
    }
    panic!("{}", command.exec());
}
