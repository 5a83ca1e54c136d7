//! The same rules as data of a policy in Rego, indexed by all that can be a key: direction, protocol and port of flows, folder of files,
//! path of programs. What is left to be looked at one by one is networks, and users.

use anyhow::{Context, Result, ensure};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{Engine, Value};
use serde_json::{Map, json};

use crate::workload::{Asked, ROLE, Rule, What, named_access, named_direction, named_protocol};

const ENTRY: &str = "data.bartizan.allow";

const POLICY: &str = r#"
package bartizan

import rego.v1

default allow := false

allow if {
	input.role == data.role
	matches("allow")
	not matches("deny")
}

matches(effect) if {
	input.kind == "network"
	some network in data.network[effect][input.direction][input.protocol][input.port]
	net.cidr_contains(network, input.address)
}

matches(effect) if {
	input.kind == "file"
	input.access in data.folders[effect][input.folder]
}

matches(effect) if {
	input.kind == "file"
	input.access in data.files[effect][input.path]
}

matches(effect) if {
	input.kind == "exec"
	input.uid in data.programs[effect][input.path]
}
"#;

/// The engine's two ways of deciding, with what it decides.
pub(crate) struct Rego {
    machine: RegoVM,
    interpreter: Engine,
    requests: Vec<Value>,
}

impl Rego {
    pub(crate) fn new(rules: &[Rule], requests: &[Asked]) -> Result<Self> {
        let data = Value::from_json_str(&data(rules).to_string())?;
        let mut interpreter = Engine::new();
        interpreter.add_policy("bartizan.rego".into(), POLICY.into())?;
        interpreter.add_data(data.clone())?;
        let compiled = interpreter.compile_with_entrypoint(&ENTRY.into())?;
        let program = Compiler::compile_from_policy(&compiled, &[ENTRY])?;
        let mut machine = RegoVM::new();
        machine.load_program(program);
        machine.set_data(data)?;
        let requests = requests
            .iter()
            .map(|asked| Value::from_json_str(&input(asked).to_string()));
        Ok(Self {
            machine,
            interpreter,
            requests: requests.collect::<Result<_>>()?,
        })
    }

    /// Whether a request, by its place, is allowed: by the program, compiled once.
    pub(crate) fn allows(&mut self, place: usize) -> Result<bool> {
        let input = self.requests.get(place).context("a request")?;
        self.machine.set_input(input.clone());
        Ok(self.machine.execute()? == Value::from(true))
    }

    /// The same by the interpreter.
    pub(crate) fn interpreted(&mut self, place: usize) -> Result<bool> {
        let input = self.requests.get(place).context("a request")?;
        self.interpreter.set_input(input.clone());
        Ok(self.interpreter.eval_rule(ENTRY.into())? == Value::from(true))
    }

    /// That both say the same.
    pub(crate) fn check(&mut self) -> Result<()> {
        for place in 0..self.requests.len() {
            let (one, other) = (self.allows(place)?, self.interpreted(place)?);
            ensure!(one == other, "request {place}: {one}, interpreted {other}");
        }
        Ok(())
    }
}

fn data(rules: &[Rule]) -> serde_json::Value {
    let mut data = json!({ "role": ROLE });
    for rule in rules {
        let effect = if rule.denies { "deny" } else { "allow" };
        match &rule.what {
            What::Flow {
                direction,
                tcp,
                network: (address, prefix),
                ports,
            } => {
                for port in ports {
                    let path = [
                        "network",
                        effect,
                        named_direction(*direction),
                        named_protocol(*tcp),
                        &port.to_string(),
                    ];
                    push(&mut data, &path, &[json!(format!("{address}/{prefix}"))]);
                }
            }
            What::File {
                path,
                below,
                access,
            } => {
                let access: Vec<_> = access.iter().map(|one| json!(named_access(*one))).collect();
                let kind = if *below { "folders" } else { "files" };
                push(&mut data, &[kind, effect, path], &access);
            }
            What::Exec { path, uids } => {
                push(
                    &mut data,
                    &["programs", effect, path],
                    &uids.map(|uid| json!(uid)),
                );
            }
        }
    }
    data
}

/// Adds to the list at a path of keys.
fn push(data: &mut serde_json::Value, path: &[&str], values: &[serde_json::Value]) {
    let mut at = data;
    for key in path {
        if !at.is_object() {
            *at = serde_json::Value::Object(Map::new());
        }
        at = &mut at[*key];
    }
    match at {
        serde_json::Value::Array(list) => list.extend_from_slice(values),
        at => *at = values.into(),
    }
}

fn input(asked: &Asked) -> serde_json::Value {
    match asked {
        Asked::Flow {
            direction,
            tcp,
            address,
            port,
        } => json!({
            "role": ROLE, "kind": "network", "direction": named_direction(*direction),
            "protocol": named_protocol(*tcp), "address": address, "port": port.to_string(),
        }),
        // Whoever asks says the folder, too, so that no loop over prefixes is needed.
        Asked::File { path, access } => {
            let folder: Vec<_> = path.split('/').take(3).collect();
            json!({
                "role": ROLE, "kind": "file", "path": path, "folder": folder.join("/"),
                "access": named_access(*access),
            })
        }
        Asked::Exec { path, uid } => {
            json!({ "role": ROLE, "kind": "exec", "path": path, "uid": uid })
        }
    }
}
