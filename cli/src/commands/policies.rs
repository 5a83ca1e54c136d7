//! `bartizan policy apply`, `list`, `withdraw`, `status`: policies at the verifier, and where they are in force.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::output::Output;
use crate::verifier::{Verifier, read, segment};

mod wait;

#[derive(Subcommand)]
pub(crate) enum Policies {
    /// Hand signed policies to the verifier, which sends all of its policies to every enclave.
    ///
    /// Each takes the place of the former issue of its name; a file that is refused leaves what came before it applied. With --wait:
    /// until the enclave of every host has said what became of it; one that is away has not.
    ///
    /// Exit code: 0 applied, with --wait in force at all of them; 1 refused, by the verifier or an enclave, or not in force in time;
    /// 2 wrong usage; 69 the verifier is away.
    #[command(
        after_help = "Examples:\n  bartizan policy apply web.policy db.policy\n  bartizan policy apply web.policy --wait --timeout 10"
    )]
    Apply {
        /// The policies, as `bartizan policy sign` wrote them.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Wait until they are in force.
        #[arg(long)]
        wait: bool,
        /// For so many seconds at most.
        #[arg(long, default_value_t = 30, requires = "wait")]
        timeout: u64,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// The policies that the verifier has, the newest issue of each.
    #[command(after_help = "Example: bartizan policy list")]
    List {
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Take a policy away from every enclave.
    ///
    /// No issue that is older than the last can be applied afterwards. Exit code: 0 withdrawn, 1 there is none, 2 wrong usage, 69 the
    /// verifier is away.
    #[command(after_help = "Example: bartizan policy withdraw team-a/web")]
    Withdraw {
        /// Its name.
        name: String,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Which set of policies is in force at which host, and what was refused where.
    #[command(after_help = "Example: bartizan policy status")]
    Status {
        #[command(flatten)]
        verifier: Verifier,
    },
}

/// The list of hosts, and what it calls them.
const IN_FORCE: (&str, &str) = ("/v1/policy-set/in-force", "hosts");

pub(crate) fn run(command: Policies, output: Output) -> Result<ExitCode> {
    match command {
        Policies::Apply {
            files,
            wait,
            timeout,
            verifier,
        } => {
            let mut set = Value::Null;
            for file in &files {
                let body = json!({ "policy": B64.encode(read(file)?) });
                set = verifier.ask("PUT", "/v1/policies", Some(&body))?;
            }
            if wait {
                return wait::until_in_force(&verifier, &set, timeout, output);
            }
            shown(set, "applied", output);
        }
        Policies::List { verifier } => {
            let mut policies = verifier.list("/v1/policies", "policies")?;
            for policy in policies.as_array_mut().into_iter().flatten() {
                let is_in = policy["withdrawn_at_ms"].is_null();
                policy["state"] = if is_in { "in the set" } else { "withdrawn" }.into();
            }
            let columns = ["state", "name", "serial", "author", "operator", "digest"];
            output.table(&policies, &columns);
        }
        Policies::Withdraw { name, verifier } => {
            let path = format!("/v1/policies/{}", segment(&name));
            shown(verifier.ask("DELETE", &path, None)?, "withdrawn", output);
        }
        Policies::Status { verifier } => {
            let mut hosts = verifier.list(IN_FORCE.0, IN_FORCE.1)?;
            for host in hosts.as_array_mut().into_iter().flatten() {
                flatten(host);
            }
            let columns = ["card", "name", "connected", "set", "refused", "why"];
            output.table(&hosts, &columns);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a table shows of a host, beside what the verifier says.
fn flatten(host: &mut Value) {
    host["set"] = host["in_force"]["number"].clone();
    let refused = host["refused"].clone();
    host["why"] = refused["detail"].clone();
    if refused.is_object() {
        let (number, reason) = (&refused["number"], &refused["reason"]);
        host["refusal"] = refused.clone();
        host["refused"] = format!("{number} ({})", reason.as_str().unwrap_or("?")).into();
    }
}

fn shown(mut set: Value, done: &str, output: Output) {
    let sentence = format!(
        "{done}: set {} of {} policies is sent to every enclave",
        set["number"], set["policies"]
    );
    set["ok"] = true.into();
    output.result(&set, &sentence);
}
