//! Which files a program maps when it starts: what ld.so(8) would find, searched in packages.

use std::collections::{BTreeSet, VecDeque};

use bartizan_attestation::profile::ApplicationProfile;

use super::{BuildError, Elf, PackageError, Packages};

/// Debian's default directories on x86-64 (`/etc/ld.so.conf.d`, then ld.so's own).
const DIRECTORIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/local/lib",
    "/usr/lib64",
    "/usr/lib",
];

/// Files of a program, by resolved path.
pub(super) struct Closure {
    /// The program.
    pub(super) executable: String,
    /// What is mapped at start: the program, its interpreter, all libraries needed.
    pub(super) required: Vec<String>,
    /// All that, the plugins, and what they need.
    pub(super) files: Vec<String>,
}

/// Follows `DT_NEEDED` and `PT_INTERP` from the executable, then from the plugins.
pub(super) fn resolve(
    packages: &Packages,
    executable: &str,
    plugins: &[String],
) -> Result<Closure, BuildError> {
    let executable = packages.resolve(executable)?;
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    follow(packages, executable.clone(), &mut seen, &mut files)?;
    let required = files.clone();
    for plugin in plugins {
        follow(packages, packages.resolve(plugin)?, &mut seen, &mut files)?;
    }
    Ok(Closure {
        executable,
        required,
        files,
    })
}

/// Adds `start` and everything that it needs, breadth first as ld.so does.
fn follow(
    packages: &Packages,
    start: String,
    seen: &mut BTreeSet<String>,
    files: &mut Vec<String>,
) -> Result<(), BuildError> {
    let mut queue = VecDeque::from([start]);
    while let Some(path) = queue.pop_front() {
        if !seen.insert(path.clone()) {
            continue;
        }
        if files.len() == ApplicationProfile::MAX_FILES {
            return Err(BuildError::TooManyFiles);
        }
        let elf = Elf::parse(packages.bytes(&path)?).map_err(|error| BuildError::Elf {
            path: path.clone(),
            error,
        })?;
        for needed in elf.interpreter.iter().chain(&elf.needed) {
            queue.push_back(find(packages, &path, &elf, needed)?);
        }
        files.push(path);
    }
    Ok(())
}

fn find(packages: &Packages, by: &str, elf: &Elf, needed: &str) -> Result<String, BuildError> {
    let origin = by.rsplit_once('/').map_or("", |(directory, _)| directory);
    let candidates: Vec<_> = if needed.contains('/') {
        vec![needed.to_owned()]
    } else {
        let own = elf
            .search
            .iter()
            .map(|it| it.replace("${ORIGIN}", origin).replace("$ORIGIN", origin))
            .filter(|directory| directory.starts_with('/'));
        let all = own.chain(DIRECTORIES.map(Into::into));
        all.map(|directory| format!("{directory}/{needed}"))
            .collect()
    };
    for candidate in candidates {
        match packages.resolve(&candidate) {
            Err(PackageError::NotFound { .. }) => {}
            found => return Ok(found?),
        }
    }
    Err(BuildError::MissingLibrary {
        needed: needed.into(),
        by: by.into(),
    })
}
