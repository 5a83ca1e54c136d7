//! The verifier's side: the releases that hosts are accepted with.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bartizan_attestation::boot::{Bundle, VerifiedManifest};
use bartizan_attestation::cose::PublicKey;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::json;

use super::read;
use crate::output::Output;
use crate::verifier::{Verifier, segment};

pub(super) fn register(
    file: &Path,
    key: &Path,
    verifier: &Verifier,
    output: Output,
) -> Result<ExitCode> {
    let signed = read(file)?;
    let spki = fs::read(key).with_context(|| format!("could not read {}", key.display()))?;
    let public = PublicKey::from_spki_der(&spki)
        .with_context(|| format!("{} is no public key in DER", key.display()))?;
    // Here, too: what is refused says more with the file at hand.
    let release = VerifiedManifest::verify(&signed, &public)?;
    let body = json!({ "manifest": B64.encode(&signed), "key": B64.encode(&spki) });
    verifier.ask("POST", "/v1/releases", Some(&body))?;
    let manifest = release.manifest();
    let digest = release.sha384().to_string();
    let sentence = format!(
        "{} {}, version {}, is in force: {digest}",
        manifest.product, manifest.part, manifest.version
    );
    let shown = json!({
        "ok": true, "manifest": digest, "product": manifest.product, "part": manifest.part.name(),
        "version": manifest.version,
    });
    output.result(&shown, &sentence);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn publish(file: &Path, verifier: &Verifier, output: Output) -> Result<ExitCode> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    // Here, too: a base, or a file that is something else, is not sent.
    Bundle::from_bytes(&bytes).with_context(|| format!("{} is no bundle", file.display()))?;
    let mut published = verifier.upload("/v1/bundles", bytes)?;
    let text = |member: &str| published[member].as_str().unwrap_or_default().to_owned();
    let sentence = format!(
        "{} bundle, version {}, is published: {}",
        text("product"),
        published["version"],
        text("manifest")
    );
    published["ok"] = true.into();
    output.result(&published, &sentence);
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list(verifier: &Verifier, output: Output) -> Result<ExitCode> {
    let mut releases = verifier.list("/v1/releases", "releases")?;
    for release in releases.as_array_mut().into_iter().flatten() {
        let in_force = release["retired_at_ms"].is_null();
        release["state"] = if in_force { "in force" } else { "retired" }.into();
        let published = in_force && !release["published_at_ms"].is_null();
        release["published"] = published.into();
    }
    output.table(
        &releases,
        &[
            "state",
            "part",
            "version",
            "published",
            "product",
            "manifest",
        ],
    );
    Ok(ExitCode::SUCCESS)
}

pub(super) fn retire(manifest: &str, verifier: &Verifier, output: Output) -> Result<ExitCode> {
    let path = format!("/v1/releases/{}", segment(manifest));
    verifier.ask("DELETE", &path, None)?;
    let sentence = format!(
        "{manifest} is retired: hosts that were booted from it are refused until they are booted from another, of its version or a higher one: see that such a one is published"
    );
    output.result(&json!({ "ok": true, "manifest": manifest }), &sentence);
    Ok(ExitCode::SUCCESS)
}
