//! The configuration file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::net::uplink::{Settings, SettingsError};
use crate::vsock::Limits;

/// Most connections of one guest that can be configured.
const MAX_CONNECTIONS: usize = 4096;

/// The configuration of this daemon; YAML, unknown fields are refused.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Path of the Unix socket on which the daemon admits devices and supervisors attach them.
    pub control_socket: PathBuf,
    /// Path of the Unix socket at which the hypervisor daemon hands on what is asked and decided on guests' flows.
    pub decisions_socket: PathBuf,
    /// Numeric user id of the hypervisor daemon, which alone may say which devices there may be.
    pub hypervisor_uid: u32,
    /// Numeric user ids that may attach devices that were admitted; the daemon's is none of them.
    pub allowed_uids: Vec<u32>,
    /// What is logged, for example `info` or `bartizan_devices=debug`; `info` by default.
    #[serde(default)]
    pub log: Option<String>,
    /// Open connections that one guest may have, 1 to 4096; 256 by default. Each may make this
    /// process hold 128 KiB.
    #[serde(default = "default_connections")]
    pub connections_per_guest: usize,
    /// TAP devices of this host by which guests reach what is outside of it; none by default.
    #[serde(default)]
    pub uplinks: Vec<Settings>,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not what it should be; the message has line and column.
    #[error("{path}: {error}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        error: Box<serde_saphyr::Error>,
    },
    /// Nobody could attach a device.
    #[error("`allowed_uids` is empty; name the user id that supervisors run as")]
    NobodyAllowed,
    /// Whoever attaches could admit what it likes.
    #[error("`allowed_uids` has the daemon's, {0}; name the user id that supervisors run as")]
    DaemonAllowed(u32),
    /// Out of range.
    #[error("`connections_per_guest` is {0}; choose 1 to {MAX_CONNECTIONS}")]
    Connections(usize),
    /// The socket's path depends on where the daemon is started.
    #[error("`{0}` is not an absolute path: {1}")]
    RelativeSocket(&'static str, PathBuf),
    /// An uplink cannot be so.
    #[error("`uplinks`, segment `{0}`: {1}")]
    Uplink(String, SettingsError),
    /// Two uplinks of one segment, or with one TAP device.
    #[error("`uplinks` has segment or TAP device `{0}` twice")]
    UplinkTwice(String),
    /// Two sockets at one path.
    #[error("`decisions_socket` is `control_socket`'s path; choose another")]
    SocketTaken,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.into(),
            error,
        })?;
        let config: Self =
            serde_saphyr::from_str(&text).map_err(|error| ConfigError::Malformed {
                path: path.into(),
                error: error.into(),
            })?;
        config.checked()
    }

    /// What each guest may make the process hold.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.connections_per_guest,
        }
    }

    fn checked(self) -> Result<Self, ConfigError> {
        if self.allowed_uids.is_empty() {
            return Err(ConfigError::NobodyAllowed);
        }
        if self.allowed_uids.contains(&self.hypervisor_uid) {
            return Err(ConfigError::DaemonAllowed(self.hypervisor_uid));
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections_per_guest) {
            return Err(ConfigError::Connections(self.connections_per_guest));
        }
        let sockets = [
            ("control_socket", &self.control_socket),
            ("decisions_socket", &self.decisions_socket),
        ];
        for (name, path) in sockets {
            if !path.is_absolute() {
                return Err(ConfigError::RelativeSocket(name, path.clone()));
            }
        }
        let mut names = std::collections::HashSet::new();
        for uplink in &self.uplinks {
            let segment = uplink.segment.clone();
            uplink
                .check()
                .map_err(|error| ConfigError::Uplink(segment, error))?;
            for name in [("segment", &uplink.segment), ("tap", &uplink.tap)] {
                if !names.insert(name) {
                    return Err(ConfigError::UplinkTwice(name.1.clone()));
                }
            }
        }
        if self.control_socket == self.decisions_socket {
            return Err(ConfigError::SocketTaken);
        }
        Ok(self)
    }
}

fn default_connections() -> usize {
    256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            format!("hypervisor_uid: 990\ndecisions_socket: /run/d.sock\n{text}"),
        )
        .unwrap();
        Config::load(file.path())
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let config = load("control_socket: /run/c.sock\nallowed_uids: [1001]\n").unwrap();
        assert_eq!(config.limits(), Limits { connections: 256 });
        assert_eq!(config.log, None);
    }

    #[test]
    fn wrong_configurations_are_refused() {
        let unknown = load("control_socket: /c\nallowed_uids: [1]\nallowed: 1\n").unwrap_err();
        assert!(matches!(unknown, ConfigError::Malformed { .. }));
        assert!(unknown.to_string().contains("line 5"), "{unknown}");
        let nobody = load("control_socket: /c\nallowed_uids: []\n");
        assert!(matches!(nobody, Err(ConfigError::NobodyAllowed)));
        // Known attack: a supervisor admits itself.
        let daemon = load("control_socket: /c\nallowed_uids: [1, 990]\n");
        assert!(matches!(daemon, Err(ConfigError::DaemonAllowed(990))));
        let relative = load("control_socket: c\nallowed_uids: [1]\n");
        assert!(matches!(
            relative,
            Err(ConfigError::RelativeSocket("control_socket", _))
        ));
        let same = load("control_socket: /run/d.sock\nallowed_uids: [1]\n");
        assert!(matches!(same, Err(ConfigError::SocketTaken)));
        let none = load("control_socket: /c\nallowed_uids: [1]\nconnections_per_guest: 0\n");
        assert!(matches!(none, Err(ConfigError::Connections(0))));
    }

    fn uplinks(text: &str) -> Result<Config, ConfigError> {
        load(&format!(
            "control_socket: /c\nallowed_uids: [1]\nuplinks:\n{text}"
        ))
    }

    #[test]
    fn uplinks_are_read() {
        let config = uplinks(
            "- segment: front\n  tap: bartizan0\n  gateway: 10.77.0.254\n  gateway_v6: fe80::1\n  gateway_mac: 02:00:00:00:99:fe\n- { segment: back, tap: bartizan1 }\n",
        );
        let config = config.unwrap();
        let [front, back] = config.uplinks.as_slice() else {
            panic!("{config:?}")
        };
        assert_eq!(front.gateway, Some([10, 77, 0, 254].into()));
        assert_eq!(front.gateway_mac.unwrap().0, [2, 0, 0, 0, 0x99, 0xfe]);
        assert_eq!(
            (back.gateway, back.gateway_v6, back.gateway_mac),
            (None, None, None)
        );
    }

    #[test]
    fn wrong_uplinks_are_refused() {
        let of = |text: &str| match uplinks(text) {
            Err(ConfigError::Uplink(_, error)) => error,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(of("- { segment: '', tap: t }"), SettingsError::Segment);
        for tap in ["''", "../sda", "a/b", "'a b'", "..", "abcdefghijklmnop"] {
            let text = format!("- {{ segment: front, tap: {tap} }}");
            assert_eq!(of(&text), SettingsError::Tap);
        }
        for gateway in [
            "gateway: 127.0.0.1",
            "gateway: 169.254.169.254",
            "gateway: 224.0.0.1",
            "gateway_v6: '::1'",
            "gateway_v6: 'ff02::1'",
        ] {
            let text = format!("- {{ segment: front, tap: t, {gateway} }}");
            assert_eq!(of(&text), SettingsError::Gateway);
        }
        for mac in [
            "gateway: 10.0.0.1, gateway_mac: 'ff:ff:ff:ff:ff:ff'",
            "gateway: 10.0.0.1, gateway_mac: '02:00:00:00:00:02'",
            // Of no gateway.
            "gateway_mac: '02:00:00:00:00:09'",
        ] {
            let text = format!("- {{ segment: front, tap: t, {mac} }}");
            assert_eq!(of(&text), SettingsError::GatewayMac);
        }
        for mac in [
            "2:0:0:0:0:9",
            "02:00:00:00:00",
            "02-00-00-00-00-09",
            "+2:00:00:00:00:09",
        ] {
            let text =
                format!("- {{ segment: front, tap: t, gateway: 10.0.0.1, gateway_mac: '{mac}' }}");
            assert!(
                matches!(uplinks(&text), Err(ConfigError::Malformed { .. })),
                "{mac}"
            );
        }
        for twice in [
            "- { segment: a, tap: t }\n- { segment: b, tap: t }",
            "- { segment: a, tap: t }\n- { segment: a, tap: u }",
        ] {
            assert!(matches!(uplinks(twice), Err(ConfigError::UplinkTwice(_))));
        }
    }
}
