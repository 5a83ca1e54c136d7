//! The guest cannot grade itself: whatever it shows beside what was asked for, and whatever it says to expect,
//! only the profile's judgement of the process that is named affirms, and names that process.

use anyhow::{Context, Result, ensure};
use bartizan_tests::nginx::Nginx;
use bartizan_tests::stack::Guest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::Value;

use crate::Case;
use crate::decoy::Decoy;
use crate::requests::text;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("grading::decoy_mapping_in_another_process", decoy_mapping),
    ("grading::second_clean_process", second_process),
    ("grading::single_harmless_page", single_page),
    ("grading::unregistered_application", unregistered),
    ("grading::self_computed_digest", self_computed),
];

/// Pristine text of nginx in another process, while the real one is patched.
fn decoy_mapping(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    nginx.while_patched(web, |web| {
        let (offset, size) = (nginx.text.file_offset, nginx.text.size);
        let decoy = Decoy::start(web, "/usr/sbin/nginx", offset, size)?;
        let (pid, address) = (decoy.pid, decoy.address);
        // Touched, so that its pages are there for the request that names them.
        let pages = size / 4096;
        web.agent.must(&format!(
            "dd if=/proc/{pid}/mem of=/dev/null bs=4096 skip={} count={pages} 2>/dev/null",
            address / 4096
        ))?;
        let process = ask(web, &format!("--application nginx --pid {pid}"));
        let mapping = ask(
            web,
            &format!("--application nginx --pid {pid} --region {address:#x}+{size:#x}"),
        );
        let real = ask(web, &format!("--application nginx --pid {}", nginx.pid));
        decoy.stop(web)?;
        not_affirmed(&process?, "contraindicated", "wrong-executable")?;
        not_affirmed(&mapping?, "none", "not-the-profile")?;
        not_affirmed(&real?, "contraindicated", "page-differs")
    })
}

/// While one process of a program is patched none of its processes is affirmed, however clean: not its worker, and
/// not a second one that root in the guest starts beside it, and names.
fn second_process(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    let worker = nginx.worker(web)?;
    let ask_about = |web: &mut Guest, pid| ask(web, &format!("--application nginx --pid {pid}"));
    let all_clean = ask_about(web, worker)?;
    ensure!(all_clean["status"] == "affirming", "{all_clean}");
    ensure!(pid(&all_clean)? == worker, "{all_clean}");
    ensure!(others(&all_clean)?.contains(&nginx.pid), "{all_clean}");

    let second = Nginx::start_second(web)?;
    let patched = nginx.while_patched(web, |web| {
        for named in [nginx.pid, worker, second.pid] {
            let answer = ask_about(web, named)?;
            not_affirmed(&answer, "contraindicated", "page-differs")?;
            ensure!(pid(&answer)? == named, "{answer}");
            let findings = answer["findings"].as_array().context("findings")?;
            let of_master = |it: &Value| it["pid"] == nginx.pid;
            ensure!(findings.iter().all(of_master), "{answer}");
        }
        Ok(())
    });
    second.stop(web)?;
    patched
}

/// Pages that are as they should be, chosen by the guest, whether or not another was changed.
fn single_page(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    let page = nginx.text.start;
    ensure!(page != nginx.patched_page(), "another page is due");
    let (pid, script) = (nginx.pid, page / 4096);
    web.agent.must(&format!(
        "dd if=/proc/{pid}/mem of=/dev/null bs=4096 skip={script} count=1 2>/dev/null"
    ))?;
    let arguments = format!("--application nginx --pid {pid} --region {page:#x}+0x1000");
    not_affirmed(&ask(web, &arguments)?, "none", "not-the-profile")?;
    nginx.while_patched(web, |web| {
        not_affirmed(&ask(web, &arguments)?, "none", "not-the-profile")
    })
}

fn unregistered(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    let arguments = format!("--application nobody --pid {}", nginx.pid);
    not_affirmed(&ask(web, &arguments)?, "none", "no-profile")
}

/// A digest that the guest computed itself, or was told before, is found equal, and affirms nothing.
fn self_computed(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    let pid = nginx.pid;
    let expecting = |web: &mut Guest, application: &str| {
        let arguments = format!("--application {application} --pid {pid}");
        let measured = memory(&ask(web, &arguments)?)?["ear_attester_claims"]["digest"].clone();
        let digest = text(&measured)?;
        let answer = ask(web, &format!("{arguments} --expect {digest}"))?;
        let compared = &memory(&answer)?["ear_verifier_claims"]["expected_digest"];
        ensure!(*compared == "equal", "{answer}");
        Ok(answer)
    };
    not_affirmed(&expecting(web, "nobody")?, "none", "no-profile")?;
    nginx.while_patched(web, |web| {
        not_affirmed(&expecting(web, "nobody")?, "none", "no-profile")?;
        let patched = expecting(web, "nginx")?;
        not_affirmed(&patched, "contraindicated", "page-differs")
    })
}

/// What the guest's tool says.
fn ask(guest: &mut Guest, arguments: &str) -> Result<Value> {
    let (code, answer) = guest.attest(arguments)?;
    let affirmed = answer["status"] == "affirming";
    ensure!(code == Some(i32::from(!affirmed)), "{code:?}: {answer}");
    Ok(answer)
}

/// Fails unless the tool and the token agree on a status that is no success, for a reason.
fn not_affirmed(answer: &Value, status: &str, finding: &str) -> Result<()> {
    let memory = memory(answer)?;
    ensure!(
        answer["status"] == status && memory["ear_status"] == status,
        "`{status}` is due: {answer}"
    );
    let mut findings = answer["findings"].as_array().into_iter().flatten();
    ensure!(
        findings.any(|found| found["kind"] == finding),
        "`{finding}` is due: {answer}"
    );
    Ok(())
}

/// The pid that the token speaks of.
fn pid(answer: &Value) -> Result<u32> {
    let pid = &memory(answer)?["ear_attester_claims"]["process"]["pid"];
    Ok(pid.as_u64().context("a pid")?.try_into()?)
}

/// The pids of the other processes of the program that the token speaks of.
fn others(answer: &Value) -> Result<Vec<u32>> {
    let others = &memory(answer)?["ear_attester_claims"]["other_instances"];
    let pids = others.as_array().into_iter().flatten();
    pids.map(|it| Ok(it["pid"].as_u64().context("a pid")?.try_into()?))
        .collect()
}

/// The appraisal in the token; that the token is genuine was checked by the guest's tool.
fn memory(answer: &Value) -> Result<Value> {
    let token = text(&answer["token"]).with_context(|| answer.to_string())?;
    let claims = token.split('.').nth(1).context("a token's claims")?;
    let mut claims: Value = serde_json::from_slice(&B64.decode(claims)?)?;
    Ok(claims["submods"]["memory"].take())
}
