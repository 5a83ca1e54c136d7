//! What authors do, offline.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bartizan_attestation::csr::EphemeralKey;
use bartizan_policy::{AuthorKey, Format, sign_policy};
use serde_json::json;

use crate::operator::{read_key, write_secret};
use crate::output::Output;

pub(super) fn key(file: &Path, output: Output) -> Result<()> {
    let key = EphemeralKey::generate()?;
    write_secret(file, key.pkcs8_der())?;
    let public = file.with_added_extension("pub");
    let pem = AuthorKey::new(key.public_key())?.to_string();
    fs::write(&public, &pem).with_context(|| format!("could not write {}", public.display()))?;
    let id = hex::encode(key.public_key().sha256());
    let sentence = format!("author's key {id}; its public half is {}", public.display());
    let made = json!({ "sha256": id, "public": public, "pem": pem });
    output.result(&made, &sentence);
    Ok(())
}

pub(super) fn sign(file: &Path, key: &Path, to: &Path, output: Output) -> Result<()> {
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("could not read {}", file.display()))?;
    let is_json = file.extension().is_some_and(|extension| extension == "json");
    let format = if is_json { Format::Json } else { Format::Yaml };
    let key = read_key(key)?;
    let signed = sign_policy(&text, format, &key.public_key(), &key)
        .with_context(|| format!("{} is not signed", file.display()))?;
    fs::write(to, &signed).with_context(|| format!("could not write {}", to.display()))?;
    let sentence = format!("signed into {}", to.display());
    output.result(&json!({ "ok": true, "signed": to }), &sentence);
    Ok(())
}
