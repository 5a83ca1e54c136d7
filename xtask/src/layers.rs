//! The dependency rule: processes never depend on one another's crates; they meet in `trust/`.
//!
//! The table in ARCHITECTURE.md is the rule; cargo's metadata is what is. An edge that is in one and not
//! in the other fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::sh;

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Compares the two.
pub(crate) fn run() -> Result<()> {
    let allowed = table(&fs::read_to_string(sh::root().join("ARCHITECTURE.md"))?)?;
    let actual = metadata()?;
    let mut wrong = Vec::new();
    for (from, to) in edges(&actual).difference(&edges(&allowed)) {
        wrong.push(format!(
            "{from} depends on {to}, which the table in ARCHITECTURE.md does not allow"
        ));
    }
    for (from, to) in edges(&allowed).difference(&edges(&actual)) {
        wrong.push(format!(
            "the table in ARCHITECTURE.md says that {from} depends on {to}, it does not"
        ));
    }
    for name in actual.keys().filter(|name| !allowed.contains_key(*name)) {
        wrong.push(format!(
            "crate {name} is not in the table in ARCHITECTURE.md"
        ));
    }
    for name in allowed.keys().filter(|name| !actual.contains_key(*name)) {
        wrong.push(format!(
            "the table in ARCHITECTURE.md has a crate {name}, the workspace has not"
        ));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the layers are broken:\n  {}", wrong.join("\n  "));
}

fn edges(of: &Edges) -> BTreeSet<(&String, &String)> {
    of.iter()
        .flat_map(|(from, to)| to.iter().map(move |to| (from, to)))
        .collect()
}

/// The rows between `<!-- layers -->` and `<!-- /layers -->`: crate, what it depends on, why.
fn table(document: &str) -> Result<Edges> {
    let (_, rest) = document
        .split_once("<!-- layers -->")
        .context("ARCHITECTURE.md has no <!-- layers -->")?;
    let (table, _) = rest
        .split_once("<!-- /layers -->")
        .context("ARCHITECTURE.md has no <!-- /layers -->")?;
    let mut edges = Edges::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, on, ..] = cells.as_slice() else {
            bail!("row `{row}` lacks cells")
        };
        let on = names(on).collect();
        let name = names(name)
            .next()
            .with_context(|| format!("row `{row}` names no crate"))?;
        edges.insert(name, on);
    }
    Ok(edges)
}

fn names(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The workspace's own edges, build and normal ones; what only tests use is not a layer.
fn metadata() -> Result<Edges> {
    let json =
        sh::output(sh::cargo().args(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let json: Value = serde_json::from_str(&json)?;
    let packages = json["packages"]
        .as_array()
        .context("cargo metadata has packages")?;
    let own: BTreeSet<_> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut edges = Edges::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has a name")?;
        let on = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|dependency| own.contains(dependency))
            .map(str::to_owned)
            .collect();
        edges.insert(name.to_owned(), on);
    }
    Ok(edges)
}
