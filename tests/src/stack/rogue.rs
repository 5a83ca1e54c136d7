//! A machine in the enclave's place that serves nothing.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::release::EnclaveConfigs;

/// What it does instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rogue {
    /// It burns its processors, begins processes without end, and takes memory without end.
    Burn,
    /// It opens its links, and says nothing.
    Silent,
}

impl Rogue {
    /// Of one CPU, in percent, which its keeper grants such a machine: less than it wants, also on a machine that has no more to give.
    pub const CPU_PERCENT: u32 = 50;
    /// RAM in MiB: less than an enclave has, so that it is taken soon.
    pub const RAM_MIB: u32 = 128;

    /// The image reads no other configuration than this.
    pub(super) fn configure(self, configs: &EnclaveConfigs) -> Result<()> {
        let what = match self {
            Self::Burn => "burn",
            Self::Silent => "silent",
        };
        fs::write(&configs.enclave, what)?;
        let mut keeper: Value = serde_json::from_str(&fs::read_to_string(&configs.keeper)?)?;
        if !keeper["limits"].is_object() {
            keeper["limits"] = json!({});
        }
        keeper["limits"]["cpu_percent"] = json!(Self::CPU_PERCENT);
        keeper["memory_mib"] = json!(Self::RAM_MIB);
        Ok(fs::write(&configs.keeper, keeper.to_string())?)
    }
}
