//! The enclave's configuration: one YAML file, measured in the fifth phase of the boot.

use bartizan_attestation::certificates::{FleetCa, FleetCaError};
use bartizan_policy::Authors;
use serde::Deserialize;

/// Where it is in the enclave's image.
pub const PATH: &str = "/config.yaml";

/// The configuration, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    fleet_ca: String,
    verifier: String,
    #[serde(default)]
    authors: Authors,
}

/// The configuration.
#[derive(Debug)]
pub struct Config {
    /// The fleet CA: who is believed on any link is certified under it.
    pub fleet_ca: FleetCa,
    /// The name that the verifier's certificate carries.
    pub verifier: String,
    /// Whose policies are believed, and for what; nobody's where the section is absent.
    pub authors: Authors,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no configuration; the message has line and column.
    #[error("this is no enclave configuration: {0}")]
    Malformed(Box<serde_saphyr::Error>),
    /// The fleet CA is none.
    #[error("`fleet_ca` is no fleet CA: {0}")]
    FleetCa(#[from] FleetCaError),
}

impl Config {
    /// Reads a configuration: `fleet_ca` (PEM), `verifier` (a DNS name or an address), `authors`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let written: Written = serde_saphyr::from_str(text)
            .map_err(|error| ConfigError::Malformed(Box::new(error)))?;
        Ok(Self {
            fleet_ca: FleetCa::from_pem_or_der(written.fleet_ca.as_bytes())?,
            verifier: written.verifier,
            authors: written.authors,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_nothing_unknown_is() {
        let ca = crate::peers::tests::Fleet::new().pem;
        let text = |rest: &str| {
            let value = serde_json::json!({ "fleet_ca": ca, "verifier": "verifier.example" });
            format!("{}{rest}", value.to_string().trim_end_matches('}'))
        };
        let config = Config::parse(&text("}")).unwrap();
        assert_eq!(config.verifier, "verifier.example");
        assert_eq!(config.authors.iter().count(), 0);
        let nobody = Config::parse(&text(r#", "authors": [{"name": "ann"}]}"#)).unwrap_err();
        assert!(matches!(nobody, ConfigError::Malformed(_)), "{nobody}");
        let unknown = Config::parse(&text(r#", "shell": true}"#)).unwrap_err();
        assert!(matches!(unknown, ConfigError::Malformed(_)), "{unknown}");
        let no_ca = Config::parse("{fleet_ca: none, verifier: x}").unwrap_err();
        assert!(matches!(no_ca, ConfigError::FleetCa(_)), "{no_ca}");
    }
}
