//! Two guests of a host in a network: what the one asks of the other, and the rules that let it.

pub mod frames;
mod kept;
pub mod servers;

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::stack::Guest;
pub use kept::{Kept, Patience};

/// The server's address.
pub const WEB: &str = "10.77.0.1";
/// The same of IPv6.
pub const WEB_6: &str = "fd77::1";
/// Its client's.
pub const CLIENT: &str = "10.77.0.2";
/// The same of IPv6.
pub const CLIENT_6: &str = "fd77::2";

/// How long what is to happen at once may take: under emulation, beside other guests.
pub const SOON: Duration = Duration::from_secs(60);

/// The client may ask the server for pages; nobody anything else.
#[must_use]
pub fn pages_only() -> Value {
    json!([
        { "name": "serve", "effect": "allow",
          "network": { "direction": "ingress", "protocols": ["tcp"], "ports": [80], "peer": { "roles": ["client"] } } },
        { "name": "ask", "effect": "allow",
          "network": { "direction": "egress", "protocols": ["tcp"], "ports": [80], "peer": { "roles": ["web"] } } },
    ])
}

/// Whether the client gets the server's page within this many seconds.
pub fn page(client: &mut Guest, seconds: u32) -> Result<bool> {
    let get = format!(
        "exec 3<>/dev/tcp/{WEB}/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3"
    );
    let command = format!("timeout {seconds} bash -c \"{get}\"");
    let outcome = client.agent.run(&command)?;
    match outcome.code {
        Some(0) if outcome.stdout.starts_with("HTTP/1.1 200") => Ok(true),
        Some(0) => bail!("an answer that is none: {outcome:?}"),
        _ => Ok(false),
    }
}

/// Whether the server answers the client's echo within two seconds.
pub fn echo(client: &mut Guest) -> Result<bool> {
    let ping = format!("ping -c 1 -W 2 {WEB}");
    Ok(client.agent.run(&ping)?.code == Some(0))
}
