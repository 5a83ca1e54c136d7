//! An author of policies.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::layout::{Layout, text};
use crate::network::WEB;
use crate::operator::Operator;

/// An author, whose key is in the stack's folder.
#[derive(Clone, Debug)]
pub struct Author {
    key: PathBuf,
    pem: String,
}

impl Author {
    /// One with a new key.
    pub fn new(layout: &Layout, operator: &Operator) -> Result<Self> {
        let key = layout.path("author.pk8");
        operator.must(&["policy", "key", &text(&key)?])?;
        let public = layout.path("author.pk8.pub");
        let pem = fs::read_to_string(&public);
        let pem = pem.with_context(|| format!("the author has no {}", public.display()))?;
        Ok(Self { key, pem })
    }

    /// As configurations name authors: one, who may write all policies.
    #[must_use]
    pub fn named(&self) -> Value {
        let kinds = ["exec", "file", "network", "syscall"];
        let scope = json!({
            "policies": ["*"], "kinds": kinds, "highest_priority": 1000, "most_severe": "kill",
        });
        json!([{ "name": "ann", "key": self.pem, "scope": scope }])
    }

    /// Writes, signs and applies a policy for guests that are selected so; returns when it is in force.
    pub fn apply(
        &self,
        operator: &Operator,
        layout: &Layout,
        serial: u64,
        select: &Value,
        rules: &Value,
    ) -> Result<()> {
        let policy = json!({
            "version": 1, "name": "front", "serial": serial,
            "select": select,
            "resolvers": [WEB],
            "rules": rules,
        });
        let (plain, signed) = (layout.path("front.json"), layout.path("front.policy"));
        fs::write(&plain, policy.to_string())?;
        self.sign(operator, &plain, &signed)?;
        operator.must(&["policy", "apply", &text(&signed)?, "--wait"])?;
        Ok(())
    }

    /// Signs a policy.
    pub fn sign(&self, operator: &Operator, policy: &Path, to: &Path) -> Result<()> {
        let (policy, to, key) = (text(policy)?, text(to)?, text(&self.key)?);
        operator.must(&["policy", "sign", &policy, "--key", &key, "--output", &to])?;
        Ok(())
    }
}
