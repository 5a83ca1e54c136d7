//! What machine this is, as far as it can tell itself.

use std::fs;

use bartizan_attestation::vault_counter::{Machine, MachineError};

/// Where the kernel tells its boot (random(4)) and the machine's name (proc_sys_kernel(5)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The machine could not be told.
#[derive(Debug, thiserror::Error)]
pub enum UnknownMachine {
    /// The kernel does not tell.
    #[error("{path}: {source}")]
    Unreadable {
        /// What was read.
        path: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// Its name is none that can be reported.
    #[error("`{name}`: {source}; name this machine by `machine` in the card's configuration")]
    Name {
        /// The name.
        name: String,
        /// Why.
        source: MachineError,
    },
}

/// This machine in its present boot; `name`: as the configuration has it, else as the kernel does.
pub fn this_machine(name: Option<&str>) -> Result<Machine, UnknownMachine> {
    let read = |path| {
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| UnknownMachine::Unreadable { path, source })?;
        Ok(text.trim().to_owned())
    };
    let name = name.map_or_else(|| read(HOST_NAME), |name| Ok(name.to_owned()))?;
    let boot = read(BOOT_ID)?.replace('-', "");
    let boot = u128::from_str_radix(&boot, 16).map_err(|_| UnknownMachine::Unreadable {
        path: BOOT_ID,
        source: std::io::ErrorKind::InvalidData.into(),
    })?;
    let boot = boot.to_be_bytes();
    Machine::new(name.clone(), boot).map_err(|source| UnknownMachine::Name { name, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_a_name_and_a_boot() {
        let machine = this_machine(Some("rack1-07")).unwrap();
        assert_eq!(machine.name(), "rack1-07");
        assert_ne!(machine.boot(), &[0; 16]);
        assert_eq!(this_machine(Some("rack1-07")).unwrap(), machine);
        this_machine(None).unwrap();
        let refused = this_machine(Some("rack 1"));
        assert!(matches!(refused, Err(UnknownMachine::Name { .. })));
    }
}
