//! A fragment of a kernel's configuration: what is wished, laid over another configuration, and found again in the one that comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Result, bail, ensure};

/// The value of an option that is off: in a configuration it may as well be missing, since what it depends on is off.
const OFF: &str = "n";

/// Options by their names, each with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fragment<'t>(BTreeMap<&'t str, &'t str>);

impl<'t> Fragment<'t> {
    /// Of its text, in which each option is named once.
    pub(super) fn parse(text: &'t str) -> Result<Self> {
        let mut options = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let place = || format!("line {} of the fragment: `{line}`", number + 1);
            let Some((name, value)) = option(line) else {
                let is_comment = line.trim().is_empty() || line.starts_with('#');
                ensure!(
                    is_comment && !line.contains("CONFIG_"),
                    "{}: neither an option nor a comment",
                    place()
                );
                continue;
            };
            if options.insert(name, value).is_some() {
                bail!("{}: the option is there twice", place());
            }
        }
        Ok(Self(options))
    }

    /// Another configuration, with these options in the place of its own.
    pub(super) fn over(&self, config: &str) -> String {
        let mut text = String::new();
        let others = config.lines().filter(|line| match option(line) {
            Some((name, _)) => !self.0.contains_key(name),
            None => true,
        });
        for line in others {
            text.push_str(line);
            text.push('\n');
        }
        for (name, value) in &self.0 {
            // INVARIANT: writing to a string does not fail.
            let _written = match *value {
                OFF => writeln!(text, "# {name} is not set"),
                value => writeln!(text, "{name}={value}"),
            };
        }
        text
    }

    /// That a configuration has all of these options; else which it has not.
    pub(super) fn check(&self, config: &str) -> Result<()> {
        let has: BTreeMap<_, _> = config.lines().filter_map(option).collect();
        let missing: BTreeSet<_> = self
            .0
            .iter()
            .filter(|(name, value)| has.get(*name).unwrap_or(&OFF) != *value)
            .map(|(name, value)| match has.get(name) {
                Some(other) => format!("{name} is {other} rather than {value}"),
                None => format!("{name} is missing rather than {value}"),
            })
            .collect();
        ensure!(
            missing.is_empty(),
            "the kernel's configuration is not what the fragment wishes: {}",
            Vec::from_iter(missing).join(", ")
        );
        Ok(())
    }
}

/// The option that a line sets, or that it says is not set.
fn option(line: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        let rest = name.strip_prefix("CONFIG_");
        rest.is_some_and(|rest| {
            !rest.is_empty()
                && (rest.bytes()).all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    };
    let (name, value) = match line.strip_prefix("# ") {
        Some(unset) => (unset.strip_suffix(" is not set")?, OFF),
        None => line.split_once('=')?,
    };
    (is_name(name) && !value.is_empty()).then_some((name, value))
}

/// The lines of a fragment that is committed are counted on to be read as what they look like.
#[cfg(test)]
mod tests {
    use super::*;

    const WISHED: &str =
        "# What for.\n\nCONFIG_PVH=y\n# CONFIG_MODULES is not set\nCONFIG_LSM=\"lockdown\"\n";

    fn wished() -> Fragment<'static> {
        Fragment::parse(WISHED).unwrap()
    }

    #[test]
    fn a_configuration_with_all_that_is_wished_passes() {
        let config = "CONFIG_PVH=y\nCONFIG_LSM=\"lockdown\"\nCONFIG_TTY=y\n";
        wished().check(config).unwrap();
        let config = format!("# CONFIG_MODULES is not set\n{config}");
        wished().check(&config).unwrap();
    }

    #[test]
    fn each_wish_that_did_not_come_is_named() {
        let config = "CONFIG_MODULES=y\nCONFIG_LSM=\"lockdown,bpf\"\n# CONFIG_TTY is not set\n";
        let error = wished().check(config).unwrap_err().to_string();
        for (name, has) in [
            ("PVH", "missing"),
            ("MODULES", "y"),
            ("LSM", "\"lockdown,bpf\""),
        ] {
            assert!(
                error.contains(&format!("CONFIG_{name} is {has} ")),
                "{error}"
            );
        }
        assert!(!error.contains("TTY"), "{error}");
        wished()
            .check("CONFIG_PVH=m\nCONFIG_LSM=\"lockdown\"")
            .unwrap_err();
        wished().check("").unwrap_err();
    }

    #[test]
    fn another_configurations_options_give_way() {
        let config = "# CONFIG_PVH is not set\nCONFIG_MODULES=y\nCONFIG_PVHX=y\n";
        let over = wished().over(config);
        wished().check(&over).unwrap();
        assert!(over.contains("CONFIG_PVHX=y\n"));
        assert_eq!(
            over.matches("CONFIG_PVH ").count() + over.matches("CONFIG_PVH=").count(),
            1
        );
    }

    #[test]
    fn a_fragment_that_is_not_understood_is_refused() {
        for text in [
            "CONFIG_PVH",
            "CONFIG_PVH=",
            "PVH=y",
            "#CONFIG_MODULES is not set",
            "# CONFIG_MODULES is not set.",
            "# CONFIG_MODULES=y",
            "CONFIG_PVH=y\n# CONFIG_PVH is not set",
        ] {
            Fragment::parse(text).unwrap_err();
        }
    }

    /// What the enclave's kernel must never have, whoever changes the fragment.
    #[test]
    fn the_committed_fragment_is_understood() {
        let fragment = Fragment::parse(super::super::FRAGMENT).unwrap();
        for off in [
            "MODULES",
            "DEVMEM",
            "KEXEC",
            "BPF_SYSCALL",
            "USER_NS",
            "BLOCK",
        ] {
            assert_eq!(fragment.0[format!("CONFIG_{off}").as_str()], OFF, "{off}");
        }
        for on in [
            "STRICT_KERNEL_RWX",
            "STACKPROTECTOR_STRONG",
            "SECCOMP_FILTER",
        ] {
            assert_eq!(fragment.0[format!("CONFIG_{on}").as_str()], "y", "{on}");
        }
    }
}
