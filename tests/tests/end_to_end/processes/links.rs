//! What the programs link, of that which matters, by cargo's metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The crates that it matters to link or not: cryptography and keys, TLS, a database, a guest's device.
const WATCHED: &[&str] = &[
    "aws-lc-rs",
    "bartizan-attestation",
    "rustls",
    "sqlx",
    "vhost",
];

/// By program, those of [`WATCHED`] that it links.
pub(crate) type Links = BTreeMap<String, BTreeSet<String>>;

/// Of all programs of the workspace, built together as they are.
pub(crate) fn by_program() -> Result<Links> {
    let metadata = metadata()?;
    let packages = list(&metadata["packages"]);
    let names: BTreeMap<_, _> = packages
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let edges: BTreeMap<_, _> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(&node["id"]), normal(node)))
        .collect();
    let mut links = Links::new();
    for package in packages {
        let linked: BTreeSet<_> = reached(text(&package["id"]), &edges)
            .into_iter()
            .filter_map(|id| names.get(id))
            .filter(|name| WATCHED.contains(name))
            .map(|name| (*name).to_owned())
            .collect();
        for target in list(&package["targets"]) {
            if target["kind"][0] == "bin" {
                links.insert(text(&target["name"]).to_owned(), linked.clone());
            }
        }
    }
    Ok(links)
}

fn metadata() -> Result<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .context("cargo could not be run")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What a package depends on, but for its tests and its build.
fn normal(node: &Value) -> Vec<&str> {
    let is_normal = |dependency: &&Value| {
        let mut kinds = list(&dependency["dep_kinds"]).iter();
        kinds.any(|kind| kind["kind"].is_null())
    };
    list(&node["deps"])
        .iter()
        .filter(is_normal)
        .map(|dependency| text(&dependency["pkg"]))
        .collect()
}

fn reached<'m>(from: &'m str, edges: &BTreeMap<&'m str, Vec<&'m str>>) -> BTreeSet<&'m str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(package) = next.pop() {
        if reached.insert(package) {
            next.extend(edges.get(package).into_iter().flatten());
        }
    }
    reached
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
