//! Writes the seeds that are committed in `corpus/`: inputs that are right, so that the targets begin behind the
//! first checks of what they fuzz. Signatures and the fleet's certificates come out otherwise in each run; all are
//! good, since the fleet's keys are fixed.

mod attestation;
mod boot;
mod devices;
mod enclave;
mod files;
mod frames;
mod memory;
mod policy;
mod processes;
mod program;
mod qemu;
mod streams;
mod tpm;
mod vault;

use std::fs;
use std::path::Path;

/// A seed: its target, its name, its bytes.
type Seed = (&'static str, &'static str, Vec<u8>);

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let seeds = [
        attestation::seeds(),
        boot::seeds(),
        devices::seeds(),
        enclave::seeds(),
        files::seeds(),
        frames::seeds(),
        memory::seeds(),
        policy::seeds(),
        processes::seeds(),
        qemu::seeds(),
        streams::seeds(),
        tpm::seeds(),
        vault::seeds(&attestation::claims_json()),
    ];
    for (target, name, bytes) in seeds.into_iter().flatten() {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
