//! `bartizan boot`: how a host was booted, from its event log.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bartizan_attestation::boot::{Event, EventLog, LogError, Measured, Phase, Sha384};
use bartizan_attestation::certificates::{ChainError, FleetCa, Usage, verify_chain};
use bartizan_attestation::host::{BootShown, OperationReply};
use bartizan_attestation::operation::Operation;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::card::{Card, CardError};
use crate::output::Output;

#[derive(Subcommand)]
pub(crate) enum Boot {
    /// Show the phases of this host's boot: what was measured in each, and what that proves.
    ///
    /// The event log must replay to the registers, and to the digests in the certificate of the host's TLS key.
    ///
    /// Exit code: 0 booted, 1 not measured, stopped or not as told, 2 wrong usage, 69 the card or its vault is away.
    #[command(
        after_help = "Examples:\n  bartizan boot show\n  bartizan boot show --log >boot.cel.json"
    )]
    Show {
        /// Print the event log instead: the TCG's canonical event log in JSON.
        #[arg(long)]
        log: bool,
        #[command(flatten)]
        card: Card,
    },
}

/// What the host says of its boot does not fit together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    /// No boot was measured.
    #[error(
        "this host's vault demands no measured boot; add `measured_boot` to its configuration and boot it by bartizan-launcher"
    )]
    NotMeasured,
    /// The log is none, or does not replay to the registers.
    #[error("the event log is refused: {0}")]
    Log(#[from] LogError),
    /// The certificate is not this fleet's.
    #[error("the certificate of the host's TLS key is refused: {0}")]
    Chain(#[from] ChainError),
    /// The certificate says something else than the log.
    #[error("the log makes {replayed} of phase {phase}, the host's certificate says {certified}")]
    Certificate {
        /// Which phase.
        phase: Phase,
        /// By the log.
        replayed: Sha384,
        /// By the certificate.
        certified: Sha384,
    },
    /// The certificate carries phases that the log does not have.
    #[error(
        "the host's certificate carries {certified} phases, the log has {logged}; was the host booted anew meanwhile?"
    )]
    Phases {
        /// How many the certificate has.
        certified: usize,
        /// How many the log has.
        logged: usize,
    },
}

pub(crate) fn run(command: Boot, output: Output) -> Result<ExitCode> {
    let Boot::Show { log, card } = command;
    let OperationReply::Boot(shown) = card.order(Operation::ShowBoot)? else {
        return Err(CardError::Unexpected.into());
    };
    if !shown.boot.measured {
        return Err(BootError::NotMeasured.into());
    }
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let checked = Checked::of(&shown, &card.fleet_ca()?, now_s)?;
    if log {
        let json = checked.log.to_json();
        output.result(&json, &serde_json::to_string_pretty(&json)?);
    } else {
        output.result(&checked.value(&shown), &checked.drawing(&shown));
    }
    Ok(match shown.boot.stopped {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

/// A boot whose log explains registers and certificate.
struct Checked {
    log: EventLog,
    /// The measurement register at the end of each phase that has ended.
    phases: Vec<Sha384>,
    /// How many of them the certificate carries.
    certified: usize,
}

impl Checked {
    fn of(shown: &BootShown, fleet_ca: &FleetCa, now_s: u64) -> Result<Self, BootError> {
        let log = EventLog::from_cbor(&shown.boot.log)?;
        log.explains(&shown.boot.registers)?;
        let phases = ends(&log);
        let mut certified = 0;
        if !shown.chain.is_empty() {
            let chain: Vec<_> = shown.chain.iter().map(|der| der.to_vec()).collect();
            let leaf = verify_chain(&chain, fleet_ca, now_s, Usage::TlsClient)?;
            certified = leaf.phases.len();
            let logged = phases.len();
            if certified > logged {
                return Err(BootError::Phases { certified, logged });
            }
            let pairs = phases.iter().zip(&leaf.phases).zip(Phase::ALL);
            for ((replayed, certified), phase) in pairs {
                if replayed != certified {
                    return Err(BootError::Certificate {
                        phase,
                        replayed: *replayed,
                        certified: *certified,
                    });
                }
            }
        }
        Ok(Self {
            log,
            phases,
            certified,
        })
    }

    fn value(&self, shown: &BootShown) -> Value {
        let phase = |phase: Phase| {
            let components = self
                .components(phase)
                .map(|(name, sha384)| json!({ "name": name, "sha384": sha384.to_string() }));
            let end = self.phases.get(usize::from(phase.number()) - 1);
            json!({
                "phase": phase.number(), "name": phase.name(), "ended": end.is_some(),
                "measurement": end.map(Sha384::to_string), "components": components.collect::<Vec<_>>(),
            })
        };
        let releases = self.releases().map(|(part, version, signer)| {
            json!({ "part": part, "version": version, "release_key": signer })
        });
        json!({
            "ok": shown.boot.stopped.is_none(),
            "stopped": shown.boot.stopped.as_ref().map(ToString::to_string),
            "releases": releases.collect::<Vec<_>>(),
            "phases": Phase::ALL.map(phase),
            "registers": {
                "measurement": shown.boot.registers.measurement.to_string(),
                "authority": shown.boot.registers.authority.to_string(),
            },
            "certified_phases": self.certified,
        })
    }

    fn drawing(&self, shown: &BootShown) -> String {
        let mut lines: Vec<_> = self
            .releases()
            .map(|(part, version, signer)| {
                format!(
                    "{part} version {version}, signed by release key {}",
                    short(&signer)
                )
            })
            .collect();
        for phase in Phase::ALL {
            let end = self.phases.get(usize::from(phase.number()) - 1);
            let state = match end {
                Some(digest) => format!("✓ {}", short(&digest.to_string())),
                None if self.components(phase).next().is_some() => "✗ not ended".into(),
                None => "· not measured".into(),
            };
            lines.push(format!("{} {:<12}{state}", phase.number(), phase.name()));
            let all: Vec<_> = self.components(phase).collect();
            // What belongs to one program (its libraries) is one line.
            let whole = all.iter().filter(|(name, _)| !belongs(name, &all));
            for (name, sha384) in whole {
                let parts = all.iter().filter(|(other, _)| is_part(other, name)).count();
                let with = match parts {
                    0 => String::new(),
                    parts => format!(" with {parts} files of it"),
                };
                lines.push(format!("    {} {name}{with}", short(&sha384.to_string())));
            }
        }
        lines.push("the event log replays to the registers".into());
        lines.push(match self.certified {
            0 => "no certificate carries it yet".into(),
            1 => "the host's TLS certificate carries phase 1".into(),
            last => format!("the host's TLS certificate carries phases 1 to {last}"),
        });
        if let Some(refusal) = &shown.boot.stopped {
            lines.push(format!("stopped: {refusal}"));
        }
        lines.join("\n")
    }

    fn components(&self, of: Phase) -> impl Iterator<Item = (&str, &Sha384)> {
        self.log
            .events()
            .iter()
            .filter_map(move |event| match event {
                Event {
                    measured:
                        Measured::Component {
                            phase,
                            name,
                            sha384,
                        },
                    ..
                } if *phase == of => Some((name.as_str(), sha384)),
                _ => None,
            })
    }

    fn releases(&self) -> impl Iterator<Item = (&'static str, u64, String)> {
        self.log
            .events()
            .iter()
            .filter_map(|event| match &event.measured {
                Measured::Release {
                    part,
                    version,
                    signer,
                    ..
                } => Some((part.name(), *version, hex::encode(signer))),
                _ => None,
            })
    }
}

/// The measurement register at each end of a phase.
fn ends(log: &EventLog) -> Vec<Sha384> {
    let (mut replayed, mut ends) = (EventLog::default(), Vec::new());
    for event in log.events() {
        replayed.push(event.clone());
        if matches!(event.measured, Measured::Completed { .. }) {
            ends.push(replayed.replay().measurement);
        }
    }
    ends
}

fn is_part(name: &str, whole: &str) -> bool {
    name.strip_prefix(whole)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn belongs(name: &str, all: &[(&str, &Sha384)]) -> bool {
    all.iter().any(|(whole, _)| is_part(name, whole))
}

/// Enough of a digest for a person to compare.
fn short(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use bartizan_attestation::boot::{Register, RegisterValues};
    use bartizan_attestation::keys::BootDescription;

    use super::*;

    fn booted() -> EventLog {
        let component = |name: &str| Event {
            register: Register::Measurement,
            measured: Measured::Component {
                phase: Phase::Card,
                name: name.into(),
                sha384: Sha384::of(name.as_bytes()),
            },
        };
        let end = Event {
            register: Register::Measurement,
            measured: Measured::Completed { phase: Phase::Card },
        };
        EventLog::new(vec![component("card"), component("card/lib"), end])
    }

    fn shown(log: &EventLog, registers: RegisterValues) -> BootShown {
        BootShown {
            boot: BootDescription {
                measured: true,
                log: log.to_cbor().into(),
                registers,
                phases: Vec::new(),
                stopped: None,
                firmware: None,
            },
            chain: Vec::new(),
        }
    }

    fn checked(shown: &BootShown) -> Result<Checked, BootError> {
        let ca = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let ca = params.self_signed(&ca).unwrap();
        Checked::of(shown, &FleetCa::from_der(ca.der()).unwrap(), 1_800_000_000)
    }

    #[test]
    fn a_log_is_drawn_by_phases_once_it_replays() {
        let log = booted();
        let shown = shown(&log, log.replay());
        let checked = checked(&shown).unwrap();
        let drawing = checked.drawing(&shown);
        assert!(drawing.contains("1 card        ✓"), "{drawing}");
        assert!(drawing.contains("card with 1 files of it"), "{drawing}");
        assert!(
            drawing.contains("5 enclave     · not measured"),
            "{drawing}"
        );
        let value = checked.value(&shown);
        assert_eq!(value["phases"][0]["ended"], true);
        assert_eq!(value["phases"][0]["components"][1]["name"], "card/lib");
        assert_eq!(value["phases"][1]["ended"], false);
    }

    #[test]
    fn a_log_that_does_not_replay_is_not_drawn() {
        let mut events = booted().events().to_vec();
        events.swap(0, 1);
        let shown = shown(&EventLog::new(events), booted().replay());
        assert!(matches!(checked(&shown), Err(BootError::Log(_))));
    }
}
