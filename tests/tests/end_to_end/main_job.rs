//! The main job: what is intact is affirmed, for every algorithm and digest kind; what is patched is not.

use anyhow::{Context, Result, ensure};
use bartizan_tests::nginx::Nginx;
use serde_json::Value;

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    (
        "main_job::nginx_is_affirmed_by_every_profiled_algorithm",
        every_algorithm,
    ),
    ("main_job::sample_opens_with_a_token", sample_opens),
    ("main_job::verdicts_and_evidence_can_be_looked_at", evidence),
    ("main_job::patched_instruction_is_located", patched),
];

const NGINX: &str = "--application nginx --pid $(cat /run/nginx.pid)";

fn every_algorithm(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    for algorithm in ["sha-256", "sha-384"] {
        for kind in ["flat", "tree"] {
            let (code, answer) =
                web.attest(&format!("{NGINX} --algorithm {algorithm} --kind {kind}"))?;
            ensure!(
                code == Some(0) && answer["status"] == "affirming",
                "{algorithm} {kind}: {answer}"
            );
        }
    }
    for algorithm in ["sha-512", "sha3-256", "sha3-384", "sha3-512", "blake3"] {
        let (code, answer) = web.attest(&format!("{NGINX} --algorithm {algorithm}"))?;
        // Measured, but the profile has no references of it: never affirmed.
        ensure!(code == Some(1), "{algorithm}: {answer}");
        ensure!(
            kinds(&answer).contains(&"no-references"),
            "{algorithm}: {answer}"
        );
    }
    Ok(())
}

fn sample_opens(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let said = web.agent.must("/opt/bartizan/bin/bartizan-sample")?;
    ensure!(said.starts_with("ledger open until "), "{said}");
    let shut = web
        .agent
        .run("/opt/bartizan/bin/bartizan-sample --application nobody")?;
    ensure!(shut.code == Some(1) && shut.stdout.is_empty(), "{shut:?}");
    Ok(())
}

/// The verdict is kept, the report verifies offline with nothing but the fleet CA, and an altered one does not.
fn evidence(world: &mut World) -> Result<()> {
    let (stack, web) = world.web()?;
    let (_, answer) = web.attest(&format!("{NGINX} --report /tmp/nginx.report"))?;
    let id = answer["verdict"].as_str().context("a verdict")?;
    let shown = stack.operator.must(&["verdict", "show", id])?;
    ensure!(
        shown["status"] == "affirming" && shown["token"] == answer["token"],
        "{shown}"
    );
    let report = web.agent.must("base64 -w0 /tmp/nginx.report")?;
    let report = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, report)?;
    let file = stack.layout.path("nginx.report");
    let verify = |report: &[u8]| {
        std::fs::write(&file, report)?;
        let file = file.to_str().context("a path")?;
        let ca = stack.operator.fleet_ca();
        let profile = stack.layout.path("nginx.json");
        stack.operator.run(&[
            "evidence",
            "verify",
            file,
            "--fleet-ca",
            ca.to_str().context("a path")?,
            "--profile",
            profile.to_str().context("a path")?,
        ])
    };
    let verified = verify(&report)?;
    ensure!(
        verified.code == Some(0) && verified.json["status"] == "affirming",
        "{verified:?}"
    );
    for at in [100, report.len() / 2, report.len() - 1] {
        let mut altered = report.clone();
        altered[at] ^= 1;
        let verified = verify(&altered)?;
        ensure!(verified.code == Some(1), "byte {at}: {verified:?}");
    }
    Ok(())
}

/// One byte of nginx's text, as root in the guest can; the page is named, and restoring it is affirmed again.
fn patched(world: &mut World) -> Result<()> {
    let (_, web) = world.web()?;
    let nginx = Nginx::of(web)?;
    let page = format!("{:#x}", nginx.patched_page());
    nginx.while_patched(web, |web| {
        for kind in ["flat", "tree"] {
            let (code, answer) = web.attest(&format!("{NGINX} --kind {kind}"))?;
            ensure!(
                code == Some(1) && answer["status"] == "contraindicated",
                "{kind}: {answer}"
            );
            ensure!(
                answer["reasons"].to_string().contains(&page),
                "the page {page} is not named: {answer}"
            );
        }
        Ok(())
    })?;
    let (code, answer) = web.attest(NGINX)?;
    ensure!(code == Some(0), "restored, yet {answer}");
    Ok(())
}

/// The kinds of an answer's findings.
fn kinds(answer: &Value) -> Vec<&str> {
    answer["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|finding| finding["kind"].as_str())
        .collect()
}
