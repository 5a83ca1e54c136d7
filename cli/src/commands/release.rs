//! `bartizan release`: what hosts may be booted from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use bartizan_attestation::boot::{Bundle, Link, Manifest, Part, Sha384, VerifiedManifest};
use bartizan_attestation::cose::{MessageType, PublicKey, Unverified};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_cli::release::{Description, differences};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::operator::{read_key, write_secret};
use crate::output::Output;
use crate::verifier::Verifier;

mod registered;

#[derive(Subcommand)]
pub(crate) enum Release {
    /// Make a release key: the private half goes into FILE, the public one into FILE.pub (DER).
    #[command(after_help = "Example: bartizan release key release.pk8")]
    Key {
        /// The file; keep it offline.
        file: PathBuf,
    },
    /// Hash the files of a release and sign the manifest; of a bundle, with the files that travel in it.
    #[command(
        after_help = "Example: bartizan release sign base.yaml --key release.pk8 --output base.release\n\nA description (YAML) has product, part (base or bundle), version, and components, each with name, phase (card, devices, coordinator, hypervisor, enclave), path on the host, and for programs start: {user, arguments, capabilities, inherits, environment, link}."
    )]
    Sign {
        /// The description, YAML.
        description: PathBuf,
        /// The release key.
        #[arg(long)]
        key: PathBuf,
        /// Where the release goes.
        #[arg(long)]
        output: PathBuf,
    },
    /// Verify the signature of a release, and with `--files` that this machine's files are those of it.
    ///
    /// Exit code: 0 verified, 1 refused, 2 wrong usage.
    #[command(
        after_help = "Example: bartizan release verify base.release --key release.pk8.pub --files"
    )]
    Verify {
        /// The release.
        file: PathBuf,
        /// The public half of the release key (DER).
        #[arg(long)]
        key: PathBuf,
        /// Compare the files of this machine, too: says what would stop its boot.
        #[arg(long)]
        files: bool,
    },
    /// Register a release with the verifier: hosts that were booted from it are accepted.
    ///
    /// Its key must be in the verifier's configuration. Exit code: 0 registered, 1 refused, 2 wrong usage, 69 the verifier is
    /// away.
    #[command(after_help = "Example: bartizan release register base.release --key release.pk8.pub")]
    Register {
        /// The release.
        file: PathBuf,
        /// The public half of the release key (DER).
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Publish a bundle at the verifier: hosts that take their bundle from there are served the newest one of their release key.
    ///
    /// Its release must be registered and in force; retired, its bundle is served no more. Of a release key the bundles of the three
    /// newest versions are kept. Exit code: 0 published, 1 refused, 2 wrong usage, 69 the verifier is away.
    #[command(after_help = "Example: bartizan release publish bundle.release")]
    Publish {
        /// The bundle, as `bartizan release sign` wrote it.
        file: PathBuf,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// The releases that were registered with the verifier, and whose bundles are published there.
    #[command(after_help = "Example: bartizan release list")]
    List {
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Retire a release: from now on hosts that were booted from it are refused, and what they report.
    ///
    /// Registered again it is in force again. Exit code: 0 retired, 1 none is in force, 2 wrong usage, 69 the verifier is away.
    #[command(after_help = "Example: bartizan release retire 3f9a…")]
    Retire {
        /// SHA-384 of its manifest, as `bartizan release list` shows it.
        manifest: String,
        #[command(flatten)]
        verifier: Verifier,
    },
    /// Show what a release says, without verifying it.
    #[command(after_help = "Example: bartizan release show base.release")]
    Show {
        /// The release.
        file: PathBuf,
    },
}

pub(crate) fn run(command: Release, output: Output) -> Result<ExitCode> {
    match command {
        Release::Key { file } => {
            let key = EphemeralKey::generate()?;
            write_secret(&file, key.pkcs8_der())?;
            let public = public_path(&file);
            fs::write(&public, key.public_key().spki_der())
                .with_context(|| format!("could not write {}", public.display()))?;
            let id = hex::encode(key.public_key().sha256());
            let sentence = format!("release key {id}; its public half is {}", public.display());
            output.result(&json!({ "sha256": id, "public": public }), &sentence);
            Ok(ExitCode::SUCCESS)
        }
        Release::Sign {
            description,
            key,
            output: to,
        } => sign(&description, &key, &to, output),
        Release::Verify { file, key, files } => verify(&file, &key, files, output),
        Release::Register {
            file,
            key,
            verifier,
        } => registered::register(&file, &key, &verifier, output),
        Release::Publish { file, verifier } => registered::publish(&file, &verifier, output),
        Release::List { verifier } => registered::list(&verifier, output),
        Release::Retire { manifest, verifier } => registered::retire(&manifest, &verifier, output),
        Release::Show { file } => {
            let signed = read(&file)?;
            let payload = Unverified::parse(&signed, MessageType::ReleaseManifest)
                .with_context(|| format!("{} is no release", file.display()))?;
            let manifest: Manifest =
                bartizan_attestation::cbor::decode_strict(payload.unverified_payload())
                    .with_context(|| format!("{} holds no release manifest", file.display()))?;
            let value = describe(&manifest);
            output.table(&value["components"], &["phase", "name", "path", "sha384"]);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn sign(description: &Path, key: &Path, to: &Path, output: Output) -> Result<ExitCode> {
    let text = fs::read_to_string(description)
        .with_context(|| format!("could not read {}", description.display()))?;
    let described = Description::from_yaml(&text)
        .with_context(|| format!("could not understand {}", description.display()))?;
    let (manifest, files) = described.manifest()?;
    let signed = manifest.sign(&read_key(key)?)?;
    let bytes = match manifest.part {
        Part::Base => signed,
        Part::Bundle => Bundle {
            manifest: signed.into(),
            files,
        }
        .to_bytes(),
    };
    fs::write(to, &bytes).with_context(|| format!("could not write {}", to.display()))?;
    let sentence = format!(
        "{} {}, version {}: {} components, signed into {}",
        manifest.product,
        manifest.part,
        manifest.version,
        manifest.components.len(),
        to.display()
    );
    output.result(&describe(&manifest), &sentence);
    Ok(ExitCode::SUCCESS)
}

fn verify(file: &Path, key: &Path, files: bool, output: Output) -> Result<ExitCode> {
    let signed = read(file)?;
    let spki = fs::read(key).with_context(|| format!("could not read {}", key.display()))?;
    let key = PublicKey::from_spki_der(&spki)
        .with_context(|| format!("{} is no public key in DER", key.display()))?;
    let verified = VerifiedManifest::verify(&signed, &key)?;
    let manifest = verified.manifest();
    let differences = if files {
        differences(manifest)
    } else {
        Vec::new()
    };
    let shown: Vec<_> = differences
        .iter()
        .map(|difference| {
            let found = match &difference.found {
                Ok(digest) => digest.to_string(),
                Err(error) => error.to_string(),
            };
            json!({
                "component": difference.name, "path": difference.path,
                "expected": strings(&difference.expected), "found": found,
            })
        })
        .collect();
    let mut value = describe(manifest);
    value["ok"] = differences.is_empty().into();
    value["differences"] = shown.into();
    let mut sentence = format!(
        "{} {}, version {}, is signed by release key {}",
        manifest.product,
        manifest.part,
        manifest.version,
        hex::encode(verified.signer())
    );
    for difference in value["differences"].as_array().into_iter().flatten() {
        let text = |member: &str| difference[member].as_str().unwrap_or_default().to_owned();
        let expected = difference["expected"].as_array().into_iter().flatten();
        let expected: Vec<_> = expected.filter_map(Value::as_str).collect();
        sentence += &format!(
            "\n{} would stop the boot: {} has {}, the release allows {}",
            text("component"),
            text("path"),
            text("found"),
            expected.join(" or ")
        );
    }
    output.result(&value, &sentence);
    Ok(if differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The signed manifest of a release, which a bundle carries.
fn read(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    match Bundle::from_bytes(&bytes) {
        Ok(bundle) => Ok(bundle.manifest.to_vec()),
        Err(_) => Ok(bytes),
    }
}

fn describe(manifest: &Manifest) -> Value {
    let components = manifest.components.iter().map(|component| {
        json!({
            "phase": component.phase.name(), "name": component.name, "path": component.path,
            "sha384": strings(&component.sha384),
            "start": component.start.as_ref().map(|start| json!({
                "phase": start.phase.name(), "user": start.user, "arguments": start.arguments,
                "capabilities": start.capabilities.iter().map(|one| one.name()).collect::<Vec<_>>(),
                "inherits": start.inherits,
                "environment": start.environment,
                "link": start.link.map(|link| match link {
                    Link::Vault => "vault",
                    Link::Coordinator => "coordinator",
                }),
            })),
        })
    });
    json!({
        "product": manifest.product, "part": manifest.part.name(), "version": manifest.version,
        "components": components.collect::<Vec<_>>(),
    })
}

fn strings(digests: &[Sha384]) -> Vec<String> {
    digests.iter().map(Sha384::to_string).collect()
}

fn public_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}
