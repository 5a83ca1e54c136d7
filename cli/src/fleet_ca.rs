//! The fleet CA in an operator's folder, and another in its place when the fleet replaced it.
//!
//! `fleet-ca.pem` is what is trusted. Beside it `fleet-cas.pem` may be: the fleet's CAs and what links them, for each former one its
//! certificate, the next one by it and it by the next one, then the present one's. It needs no trust, and may be deleted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bartizan_attestation::certificates::{FleetCa, FormerFleetCa, Lineage, LineageError};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// The fleet's CAs, beside the one that is trusted.
const LINKS: &str = "fleet-cas.pem";

/// The fleet CA was not followed; the one that was trusted is trusted still.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetCaFileError {
    /// The verifier's CAs are not linked to the one in the folder.
    #[error("{path} stays as it is: {source}", path = .path.display())]
    NotFollowed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LineageError,
    },
    /// The links beside it are none.
    #[error("{path} is damaged; delete it, then run `bartizan operator roll-fleet-ca`", path = .path.display())]
    Links {
        /// The file.
        path: PathBuf,
    },
    /// The answer is none.
    #[error("the verifier's fleet CAs cannot be read; are both of one version?")]
    Answer,
    /// A file could not be written.
    #[error("{path}: {source}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a fleet CA certificate (PEM or DER), and what links it to others of its fleet, where that is beside it.
pub(crate) fn read_fleet_ca(path: &Path) -> Result<FleetCa> {
    let bytes = fs::read(path).with_context(|| {
        format!(
            "no fleet CA at {}; `bartizan service init` writes it into the operator's folder",
            path.display()
        )
    })?;
    let trusted = FleetCa::from_pem_or_der(&bytes)
        .with_context(|| format!("{} is no fleet CA", path.display()))?;
    let beside = path.with_file_name(LINKS);
    let links = match fs::read(&beside) {
        Ok(links) => links,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(trusted),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", beside.display()));
        }
    };
    let damaged = || FleetCaFileError::Links {
        path: beside.clone(),
    };
    let lineage = from_pem(&links).ok_or_else(damaged)?;
    match trusted.with_lineage(&lineage) {
        Ok(linked) => Ok(linked),
        // Left over from another fleet.
        Err(LineageError::Foreign(_)) => Ok(trusted),
        Err(_) => Err(damaged().into()),
    }
}

/// Follows the fleet CA from the one in `path` to the present one of an answer of the verifier's, and keeps the former one beside it.
pub(crate) fn roll(path: &Path, answer: &Value) -> Result<Value> {
    let lineage = Lineage::deserialize(answer).map_err(|_| FleetCaFileError::Answer)?;
    let trusted = read_fleet_ca(path)?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let rolled = trusted.rolled(&lineage, now_s);
    let rolled = rolled.map_err(|source| FleetCaFileError::NotFollowed {
        path: path.to_owned(),
        source,
    })?;
    replace(&path.with_file_name(LINKS), &to_pem(&lineage))?;
    let [former, present] = [&trusted, &rolled].map(|ca| hex::encode(ca.sha256()));
    if former == present {
        return Ok(json!({ "ok": true, "rolled": false, "fleet_ca_sha256": present }));
    }
    let name = former.get(..16).unwrap_or(&former);
    let kept = path.with_file_name(format!("fleet-ca-{name}.pem"));
    replace(&kept, &pem(trusted.der()))?;
    // Last: until then the former one is trusted, which leads to the same.
    replace(path, &pem(rolled.der()))?;
    Ok(json!({
        "ok": true, "rolled": true, "fleet_ca_sha256": present, "former_sha256": former, "former": kept,
    }))
}

/// What a roll came to, for people.
pub(crate) fn sentence(rolled: &Value) -> String {
    let text = |member: &str| rolled[member].as_str().unwrap_or_default();
    let present = text("fleet_ca_sha256");
    match rolled["rolled"].as_bool() {
        Some(true) => format!(
            "the fleet CA in this folder is {present} from now on; the former one is kept at {}",
            text("former")
        ),
        _ => format!("the fleet CA in this folder is the present one already: {present}"),
    }
}

fn to_pem(lineage: &Lineage) -> String {
    let former = lineage.former.iter();
    let former = former.flat_map(|ca| [&ca.certificate, &ca.new_with_old, &ca.old_with_new]);
    former
        .chain([&lineage.present])
        .map(|der| pem(der))
        .collect()
}

fn from_pem(text: &[u8]) -> Option<Lineage> {
    let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.ok()?;
    let (present, former) = certificates.split_last()?;
    let bytes = |der: &CertificateDer<'_>| der.to_vec().into();
    let (former, []) = former.as_chunks::<3>() else {
        return None;
    };
    let former = former
        .iter()
        .map(|[certificate, forward, backward]| FormerFleetCa {
            certificate: bytes(certificate),
            new_with_old: bytes(forward),
            old_with_new: bytes(backward),
        });
    Some(Lineage {
        present: bytes(present),
        former: former.collect(),
    })
}

/// A certificate in PEM (RFC 7468).
fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut lines = vec!["-----BEGIN CERTIFICATE-----"];
    let mut rest = text.as_str();
    while let Some((line, after)) = rest.split_at_checked(64) {
        lines.push(line);
        rest = after;
    }
    lines.extend(Some(rest).filter(|rest| !rest.is_empty()));
    lines.push("-----END CERTIFICATE-----\n");
    lines.join("\n")
}

/// Replaces a file as a whole: it is the former or the new one, whatever comes between.
fn replace(path: &Path, text: &str) -> Result<(), FleetCaFileError> {
    let partial = path.with_extension("partial");
    let written = File::create(&partial)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| FleetCaFileError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
