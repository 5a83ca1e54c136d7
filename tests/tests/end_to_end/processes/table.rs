//! The table between `<!-- processes -->` and `<!-- /processes -->` of ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md");

/// One process.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) process: String,
    pub(crate) program: String,
    pub(crate) user: String,
    pub(crate) descriptors: BTreeSet<String>,
    pub(crate) guest_ram: String,
    pub(crate) seccomp: String,
    pub(crate) no_new_privs: bool,
    pub(crate) capabilities: BTreeSet<String>,
    pub(crate) links: BTreeSet<String>,
}

/// Reads the table.
pub(crate) fn read() -> Result<Vec<Row>> {
    let document = fs::read_to_string(DOCUMENT)?;
    let (_, rest) = document
        .split_once("<!-- processes -->")
        .context("ARCHITECTURE.md has no <!-- processes -->")?;
    let (table, _) = rest
        .split_once("<!-- /processes -->")
        .context("ARCHITECTURE.md has no <!-- /processes -->")?;
    table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(row)
        .collect()
}

fn row(line: &str) -> Result<Row> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    let [
        process,
        program,
        user,
        descriptors,
        guest_ram,
        seccomp,
        no_new_privs,
        capabilities,
        links,
    ] = cells.as_slice()
    else {
        bail!("the row `{line}` has {} cells", cells.len())
    };
    let plain = |cell: &str| cell.trim_matches('`').to_owned();
    Ok(Row {
        process: plain(process),
        program: plain(program),
        user: plain(user),
        descriptors: list(descriptors),
        guest_ram: plain(guest_ram),
        seccomp: plain(seccomp),
        no_new_privs: *no_new_privs == "yes",
        capabilities: list(capabilities),
        links: list(links),
    })
}

/// What a cell lists; `none` is nothing.
fn list(cell: &str) -> BTreeSet<String> {
    cell.split(", ")
        .map(|name| name.trim_matches('`').to_owned())
        .filter(|name| !name.is_empty() && name != "none")
        .collect()
}
