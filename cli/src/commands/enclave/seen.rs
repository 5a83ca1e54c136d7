//! From what is known of an enclave to what a person sees of it, and what is wrong; pure.

use bartizan_attestation::boot::{EventLog, Measured, Phase};
use bartizan_attestation::host::EnclaveShown;
use serde_json::{Map, Value, json};

use crate::utc::utc;

/// A keeper that said nothing for so long, in seconds, hangs: it says something every five.
const STALE_S: u64 = 30;

/// What the verifier says.
#[derive(Debug)]
pub(super) struct AtVerifier {
    /// The number of the set that shall be in force.
    pub(super) set: Option<u64>,
    /// The host, as it is listed there; null if it is not.
    pub(super) host: Value,
}

/// An enclave as a person sees it.
#[derive(Debug)]
pub(super) struct Seen {
    /// For programs.
    pub(super) json: Value,
    /// What is wrong, a sentence each.
    pub(super) problems: Vec<String>,
}

impl Seen {
    pub(super) fn of(shown: &EnclaveShown, verifier: Option<&AtVerifier>, now_s: u64) -> Self {
        let mut problems = Vec::new();
        let machine = machine(shown, now_s, &mut problems);
        let measured = measured(shown, &mut problems);
        let certified = certified(shown, now_s, &mut problems);
        let links = links(shown, verifier, &mut problems);
        let policies = verifier.map(|verifier| policies(verifier, &mut problems));
        let json = json!({
            "ok": problems.is_empty(),
            "host": shown.card.to_string(),
            "problems": problems,
            "machine": machine,
            "measured": measured,
            "certified": certified,
            "links": links,
            "guests": shown.hypervisor.map(|link| link.guests),
            "policies": policies,
        });
        Self { json, problems }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let of = &self.json;
        let mut lines = vec![machine_line(&of["machine"])];
        lines.extend(use_line(&of["machine"]["use"]));
        for (name, digest) in of["measured"].as_object().into_iter().flatten() {
            let digest = digest.as_str().unwrap_or_default();
            lines.push(format!(
                "measured   {name:<22}{}",
                digest.get(..16).unwrap_or(digest)
            ));
        }
        lines.push(match of["certified"]["until"].as_str() {
            Some(until) => format!(
                "certified  {} until {until}",
                of["certified"]["since"].as_str().unwrap_or("?")
            ),
            None => "certified  not since the card was started".into(),
        });
        for name in ["card", "hypervisor", "verifier"] {
            let state = match of["links"][name].as_bool() {
                Some(true) => "open",
                Some(false) => "closed",
                None => "not known",
            };
            lines.push(format!("link       to the {name:<15}{state}"));
        }
        if let Some(guests) = of["guests"].as_u64() {
            lines.push(format!("guests     {guests} ruled"));
        }
        lines.push(match &of["policies"] {
            Value::Null => "policies   the verifier was not asked".into(),
            policies => policies_line(policies),
        });
        lines.extend(self.problems.iter().map(|problem| format!("✗ {problem}")));
        if self.problems.is_empty() {
            lines.push("✓ all is well".into());
        }
        lines.join("\n")
    }
}

fn machine(shown: &EnclaveShown, now_s: u64, problems: &mut Vec<String>) -> Value {
    let Some(heard) = shown.machine else {
        // A card that is not configured to hear the keeper knows by its own link whether there is an enclave.
        if !shown.link {
            problems.push("there is no enclave: none has a link to the card".into());
        }
        return Value::Null;
    };
    let state = heard.state;
    let age_s = now_s.saturating_sub(heard.at_s);
    if !heard.connected || age_s > STALE_S {
        problems.push(format!(
            "the keeper said last {age_s} s ago how the machine is; see its log"
        ));
    } else if state.since_s.is_none() {
        problems.push("there is no enclave: its machine does not run; see the keeper's log".into());
    }
    let used = state.use_of;
    json!({
        "running": state.since_s.is_some(),
        "since_s": state.since_s,
        "since": state.since_s.map(|since_s| utc(since_s.saturating_mul(1000))),
        "restarts": state.starts.saturating_sub(1),
        "heard_s_ago": age_s,
        "use": {
            "memory": { "used": used.memory, "limit": used.memory_limit },
            "threads": { "used": used.threads, "limit": used.threads_limit },
            "cpu": { "used_ms": used.cpu_ms, "limit_percent": used.cpu_limit },
        },
    })
}

/// The digests of what the machine was started from.
fn measured(shown: &EnclaveShown, problems: &mut Vec<String>) -> Value {
    if !shown.boot.measured {
        return Value::Null;
    }
    let log = EventLog::from_cbor(&shown.boot.log).ok();
    let log = log.filter(|log| log.explains(&shown.boot.registers).is_ok());
    let Some(log) = log else {
        problems.push("the boot's event log does not replay to its registers".into());
        return Value::Null;
    };
    let components = log
        .events()
        .iter()
        .filter_map(|event| match &event.measured {
            Measured::Component {
                phase: Phase::Enclave,
                name,
                sha384,
            } => Some((name.strip_prefix("enclave/")?, sha384.to_string())),
            _ => None,
        });
    let digests: Map<_, _> = components
        .map(|(name, digest)| (name.to_owned(), Value::from(digest)))
        .collect();
    if digests.is_empty() {
        problems.push("the boot has measured no enclave; see `bartizan boot show`".into());
    }
    digests.into()
}

fn certified(shown: &EnclaveShown, now_s: u64, problems: &mut Vec<String>) -> Value {
    let Some(certified) = shown.certified else {
        problems.push("the card has certified no enclave since it was started".into());
        return Value::Null;
    };
    if certified.until_s < now_s {
        problems.push("the enclave's certificates have ended, and it was given no others".into());
    }
    let time = |at_s: u64| utc(at_s.saturating_mul(1000));
    json!({
        "since_s": certified.since_s, "since": time(certified.since_s),
        "until_s": certified.until_s, "until": time(certified.until_s),
    })
}

/// Each as the one knows best who is at its other end.
fn links(shown: &EnclaveShown, verifier: Option<&AtVerifier>, problems: &mut Vec<String>) -> Value {
    let hypervisor = shown.hypervisor.map(|link| link.since_s.is_some());
    // Bytes may be moved for a stream that is refused.
    let stream = verifier.map(|verifier| verifier.host["connected"] == true);
    let to_verifier = stream.or(Some(false).filter(|_| !shown.forwarded));
    for (name, open) in [
        ("card", Some(shown.link)),
        ("hypervisor", hypervisor),
        ("verifier", to_verifier),
    ] {
        if open == Some(false) {
            problems.push(format!("the enclave's link to the {name} is not open"));
        }
    }
    if hypervisor.is_none() {
        problems.push("the hypervisor does not say whether it has a link to the enclave".into());
    }
    json!({ "card": shown.link, "hypervisor": hypervisor, "verifier": to_verifier })
}

fn policies(verifier: &AtVerifier, problems: &mut Vec<String>) -> Value {
    let (in_force, refused) = (&verifier.host["in_force"], &verifier.host["refused"]);
    let number = in_force["number"].as_u64();
    if let Some(detail) = refused["detail"].as_str() {
        let set = &refused["number"];
        problems.push(format!(
            "the enclave refuses set {set} of policies: {detail}"
        ));
    } else if verifier.set.is_some() && number != verifier.set {
        let due = verifier.set.unwrap_or_default();
        problems.push(match number {
            Some(number) => format!("set {number} of policies is in force, not {due}"),
            None => format!("no policies are in force: everything is denied; set {due} is due"),
        });
    }
    json!({ "due": verifier.set, "in_force": in_force, "refused": refused })
}

fn machine_line(machine: &Value) -> String {
    let restarts = machine["restarts"].as_u64().unwrap_or_default();
    match (machine["running"].as_bool(), machine["since"].as_str()) {
        (Some(true), Some(since)) => {
            format!("machine    runs since {since}, {restarts} restarts")
        }
        (Some(_), _) => format!("machine    does not run, {restarts} restarts"),
        (None, _) => "machine    the card hears no keeper".into(),
    }
}

fn use_line(used: &Value) -> Option<String> {
    used.as_object()?;
    let mib = |value: &Value| {
        value
            .as_u64()
            .map_or("?".into(), |bytes| (bytes >> 20).to_string())
    };
    let count = |value: &Value| value.as_u64().map_or("?".into(), |count| count.to_string());
    let (memory, threads, cpu) = (&used["memory"], &used["threads"], &used["cpu"]);
    let seconds = cpu["used_ms"]
        .as_u64()
        .map_or("?".into(), |ms| (ms / 1000).to_string());
    Some(format!(
        "uses       {} of {} MiB, {} of {} threads, {seconds} s of CPU at {}% at most",
        mib(&memory["used"]),
        mib(&memory["limit"]),
        count(&threads["used"]),
        count(&threads["limit"]),
        count(&cpu["limit_percent"]),
    ))
}

fn policies_line(policies: &Value) -> String {
    let in_force = &policies["in_force"];
    match in_force["number"].as_u64() {
        Some(number) => {
            let digest = in_force["digest"].as_str().unwrap_or_default();
            let digest = digest.get(..16).unwrap_or(digest);
            format!("policies   set {number} ({digest}) is in force")
        }
        None => "policies   none is in force".into(),
    }
}

#[cfg(test)]
mod tests;
