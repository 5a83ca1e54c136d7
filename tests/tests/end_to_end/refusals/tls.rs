//! The verifier speaks TLS 1.3 and nothing older.

use std::process::{Command, Output, Stdio};

use anyhow::{Result, ensure};
use bartizan_tests::stack::Stack;

use crate::Case;
use crate::world::World;

pub(super) const CASES: &[Case] = &[("refusals::tls_1_2", tls_1_2)];

fn tls_1_2(world: &mut World) -> Result<()> {
    let stack = world.stack()?;
    let new = handshake(stack, "-tls1_3")?;
    let said = String::from_utf8_lossy(&new.stdout);
    ensure!(
        new.status.success() && said.contains("New, TLSv1.3,"),
        "{new:?}"
    );
    let old = handshake(stack, "-tls1_2")?;
    let said = String::from_utf8_lossy(&old.stderr);
    ensure!(
        !old.status.success() && said.contains("alert protocol version"),
        "{old:?}"
    );
    Ok(())
}

fn handshake(stack: &Stack, version: &str) -> Result<Output> {
    let output = Command::new("openssl")
        .args(["s_client", version, "-connect", stack.operator.verifier()])
        .args([
            "-servername",
            "localhost",
            "-verify_return_error",
            "-CAfile",
        ])
        .arg(stack.operator.fleet_ca())
        .stdin(Stdio::null())
        .output()?;
    Ok(output)
}
