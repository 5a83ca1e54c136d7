//! `bartizan release` as its users see it: what is signed, what is verified, what would stop a boot.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use bartizan_attestation::boot::Bundle;
use serde_json::Value;

fn bartizan(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bartizan"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A folder with a release key, two files and the description of a base that has them.
fn described() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("vault"), "a vault").unwrap();
    fs::write(path.join("devices"), "devices").unwrap();
    let at = |name| path.join(name).display().to_string();
    let description = format!(
        "product: test\npart: base\nversion: 3\ncomponents:\n\
         - {{ name: vault, phase: card, path: {}, start: {{ user: nobody, link: vault }} }}\n\
         - {{ name: devices, phase: devices, path: {}, start: {{ user: nobody, link: coordinator, capabilities: [kill] }} }}\n",
        at("vault"),
        at("devices"),
    );
    fs::write(path.join("base.yaml"), description).unwrap();
    let made = bartizan(path, &["--json", "release", "key", "release.pk8"]);
    assert_eq!(json(&made)["sha256"].as_str().unwrap().len(), 64);
    folder
}

fn sign(folder: &Path, description: &str, to: &str) -> Output {
    let arguments = [
        "release",
        "sign",
        description,
        "--key",
        "release.pk8",
        "--output",
        to,
    ];
    bartizan(folder, &arguments)
}

#[test]
fn what_was_signed_is_verified_and_a_changed_file_is_named() {
    let folder = described();
    let path = folder.path();
    assert_eq!(
        sign(path, "base.yaml", "base.release").status.code(),
        Some(0)
    );
    let verify = || {
        let key = "release.pk8.pub";
        bartizan(
            path,
            &[
                "--json",
                "release",
                "verify",
                "base.release",
                "--key",
                key,
                "--files",
            ],
        )
    };
    let verified = verify();
    assert_eq!(verified.status.code(), Some(0));
    let shown = json(&verified);
    assert_eq!((&shown["version"], &shown["ok"]), (&3.into(), &true.into()));
    assert_eq!(shown["components"][0]["start"]["link"], "vault");
    assert_eq!(shown["components"][1]["start"]["capabilities"][0], "kill");
    fs::write(path.join("devices"), "others").unwrap();
    let verified = verify();
    assert_eq!(verified.status.code(), Some(1));
    let differences = &json(&verified)["differences"];
    assert_eq!(differences[0]["component"], "devices");
    assert_ne!(differences[0]["found"], differences[0]["expected"][0]);
    fs::remove_file(path.join("devices")).unwrap();
    assert_eq!(verify().status.code(), Some(1));
}

#[test]
fn another_key_does_not_verify() {
    let folder = described();
    let path = folder.path();
    sign(path, "base.yaml", "base.release");
    bartizan(path, &["release", "key", "other.pk8"]);
    let verified = bartizan(
        path,
        &[
            "release",
            "verify",
            "base.release",
            "--key",
            "other.pk8.pub",
        ],
    );
    assert_eq!(verified.status.code(), Some(1));
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(said.contains("not signed by the release key"), "{said}");
    // A key is not made over one that is there.
    let again = bartizan(path, &["release", "key", "other.pk8"]);
    assert_eq!(again.status.code(), Some(1));
}

#[test]
fn a_bundle_carries_its_files() {
    let folder = described();
    let path = folder.path();
    fs::write(path.join("stage2"), "a program").unwrap();
    let description = format!(
        "product: test\npart: bundle\nversion: 1\ncomponents:\n\
         - {{ name: stage2, phase: coordinator, file: {0}/stage2, start: {{ user: nobody, link: coordinator }} }}\n\
         - {{ name: hypervisor, phase: hypervisor, path: {0}/devices }}\n",
        path.display(),
    );
    fs::write(path.join("bundle.yaml"), description).unwrap();
    assert_eq!(
        sign(path, "bundle.yaml", "bundle.release").status.code(),
        Some(0)
    );
    let bundle = Bundle::from_bytes(&fs::read(path.join("bundle.release")).unwrap()).unwrap();
    assert_eq!(bundle.file("stage2"), Some(&b"a program"[..]));
    let key = "release.pk8.pub";
    let verified = bartizan(path, &["release", "verify", "bundle.release", "--key", key]);
    assert_eq!(verified.status.code(), Some(0));
}

/// Not at the boot of each host.
#[test]
fn what_a_program_inherits_is_looked_for_when_a_release_is_signed() {
    let folder = described();
    let path = folder.path();
    let described = fs::read_to_string(path.join("base.yaml")).unwrap();
    for (inherits, code) in [("valut", 1), ("vault", 0)] {
        let inheriting = format!("capabilities: [kill], inherits: [{inherits}]");
        let described = described.replace("capabilities: [kill]", &inheriting);
        fs::write(path.join("inheriting.yaml"), described).unwrap();
        let signed = sign(path, "inheriting.yaml", "base.release");
        let told = String::from_utf8_lossy(&signed.stderr);
        assert_eq!(signed.status.code(), Some(code), "{told}");
        assert_eq!(told.contains("started with `valut`"), code == 1, "{told}");
        assert_eq!(path.join("base.release").exists(), code == 0);
    }
}

#[test]
fn a_wrong_description_is_wrong_usage_and_says_where() {
    let folder = described();
    let path = folder.path();
    for (wrong, said) in [
        (
            "product: x\npart: everything\nversion: 1\ncomponents: []\n",
            "expected base or bundle",
        ),
        (
            "product: x\npart: base\nversion: 1\ncomponents: []\nmore: 1\n",
            "more",
        ),
        (
            "product: x\npart: base\nversion: 1\ncomponents: [{name: a, phase: card, path: /nonexistent}]\n",
            "cannot be read",
        ),
        (
            "product: x\npart: base\nversion: 1\ncomponents: [{name: a, phase: card, path: /a, start: {user: a, capabilities: [kil]}}]\n",
            "`kil` is no capability",
        ),
    ] {
        fs::write(path.join("wrong.yaml"), wrong).unwrap();
        let signed = sign(path, "wrong.yaml", "wrong.release");
        let told = String::from_utf8_lossy(&signed.stderr);
        assert_eq!(signed.status.code(), Some(2), "{told}");
        assert!(told.contains(said), "{told}");
        assert!(!path.join("wrong.release").exists());
    }
}
