//! `bartizan profile`: what must stand in RAM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bartizan_attestation::measurement::HashAlgorithm;
use bartizan_attestation::profile::ApplicationProfile;
use bartizan_cli::profile::{ProfileBuilder, ProfileOptions};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::output::Output;
use crate::verifier::{Verifier, read, segment};

#[derive(Subcommand)]
pub(crate) enum Profile {
    /// Compute a profile from an ELF file.
    #[command(
        after_help = "Example: bartizan profile from-elf ./ledger --path /usr/bin/ledger --application ledger --output ledger.json"
    )]
    FromElf {
        /// The file.
        file: PathBuf,
        /// Its path in the guest.
        #[arg(long)]
        path: String,
        #[command(flatten)]
        options: Options,
    },
    /// Compute a profile from a Debian package.
    #[command(
        after_help = "Example: bartizan profile from-deb nginx_1.22.1-9_amd64.deb /usr/sbin/nginx --libraries ./debs --application nginx --output nginx.json"
    )]
    FromDeb {
        /// The package.
        package: PathBuf,
        /// The executable's path in it.
        path: String,
        #[command(flatten)]
        options: Options,
    },
    /// Register a profile with the verifier.
    #[command(after_help = "Example: bartizan profile add nginx.json")]
    Add {
        /// The profile.
        file: PathBuf,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// The registered profiles.
    #[command(after_help = "Example: bartizan profile list")]
    List {
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Remove a profile: its application is no longer affirmed.
    #[command(after_help = "Example: bartizan profile rm nginx")]
    Rm {
        /// The application.
        application: String,
        #[command(flatten)]
        verifier: Verifier,
    },
}

#[derive(Args)]
pub(crate) struct Options {
    /// The name under which it will be registered.
    #[arg(long)]
    application: String,
    /// Hash algorithms of the reference digests.
    #[arg(long = "algorithm", default_values = ["sha-256", "sha-384"])]
    algorithms: Vec<HashAlgorithm>,
    /// Folder of `.deb` files in which libraries and the interpreter are looked for.
    #[arg(long)]
    libraries: Option<PathBuf>,
    /// A library that the program loads by name at run time; its path in the guest.
    #[arg(long = "plugin")]
    plugins: Vec<String>,
    /// Where the profile goes, JSON.
    #[arg(long)]
    output: PathBuf,
}

pub(crate) fn run(command: Profile, output: Output) -> Result<ExitCode> {
    match command {
        Profile::FromElf {
            file,
            path,
            options,
        } => {
            build(
                ProfileBuilder::from_elf(&path, &read(&file)?)?,
                options,
                output,
            )?;
        }
        Profile::FromDeb {
            package,
            path,
            options,
        } => {
            build(
                ProfileBuilder::from_deb(&read(&package)?, &path)?,
                options,
                output,
            )?;
        }
        Profile::Add { file, verifier } => {
            let json = read(&file)?;
            // Checked here first: the message names the file's fault rather than the verifier's refusal.
            let profile = ApplicationProfile::from_json(&json)
                .with_context(|| format!("{} is no profile", file.display()))?;
            let application = &profile.document().application;
            let path = format!("/v1/profiles/{}", segment(application));
            let answer = verifier.send("PUT", &path, json)?;
            let shown =
                json!({ "ok": true, "application": application, "revision": answer["revision"] });
            output.result(
                &shown,
                &format!("{application} registered, revision {}", answer["revision"]),
            );
        }
        Profile::List { verifier } => {
            let profiles = verifier.list("/v1/profiles", "profiles")?;
            output.table(
                &profiles,
                &["application", "revision", "operator", "created_at_ms"],
            );
        }
        Profile::Rm {
            application,
            verifier,
        } => {
            verifier.ask(
                "DELETE",
                &format!("/v1/profiles/{}", segment(&application)),
                None,
            )?;
            output.result(
                &json!({ "ok": true }),
                &format!("{application} is no longer affirmed"),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn build(mut builder: ProfileBuilder, options: Options, output: Output) -> Result<()> {
    if let Some(folder) = &options.libraries {
        let debs = debs(folder)?;
        builder = builder.with_libraries(debs.iter().map(Vec::as_slice))?;
    }
    for plugin in &options.plugins {
        builder = builder.with_plugin(plugin);
    }
    let wanted = ProfileOptions {
        algorithms: options.algorithms,
        ..ProfileOptions::new(&options.application)
    };
    let profile = builder.build(&wanted)?;
    fs::write(&options.output, profile.to_json())
        .with_context(|| format!("could not write {}", options.output.display()))?;
    let files: Vec<_> = profile
        .document()
        .files
        .iter()
        .map(|file| &file.path)
        .collect();
    let shown =
        json!({ "ok": true, "profile": options.output, "id": profile.id(), "files": files });
    output.result(
        &shown,
        &format!("{}: {} files", options.output.display(), files.len()),
    );
    Ok(())
}

fn debs(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("could not read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(read).collect()
}
