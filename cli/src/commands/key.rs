//! `bartizan key`: the life of keys, a host's and the verifier's.

mod fleet_ca;
mod host;

use std::process::ExitCode;

use anyhow::Result;
use bartizan_attestation::keys::KeyKind;
use bartizan_attestation::operation::RotatableKey;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::card::{Card, CardPlace};
use crate::operator::Credentials;
use crate::output::Output;
use crate::utc::utc;
use crate::verifier::{Verifier, VerifierPlace, segment};

#[derive(Subcommand)]
pub(crate) enum Key {
    /// The keys that there are, and until when they are certified.
    ///
    /// A host's certificates are verified here, under the fleet CA in the operator's folder.
    #[command(
        after_help = "Examples:\n  bartizan key list host\n  bartizan key list verifier --json"
    )]
    List {
        /// Whose.
        whose: Whose,
        #[command(flatten)]
        places: Places,
    },
    /// What became of the keys: made, certified, superseded, revoked, destroyed.
    ///
    /// A vault remembers the last 256 events of each kind of key; a gap in their numbers shows that some are not remembered any more.
    #[command(
        after_help = "Examples:\n  bartizan key history host --kind report\n  bartizan key history verifier --json"
    )]
    History {
        /// Whose.
        whose: Whose,
        /// Only of this kind: fleet-ca, card, tls-server, tls-client, token, report, guest, operator,
        /// sealing.
        #[arg(long, value_parser = kind)]
        kind: Option<KeyKind>,
        #[command(flatten)]
        places: Places,
    },
    /// Make a new key, and use it from now on. What the former one signed stays good.
    ///
    /// At a host: its TLS client key, a guest's report key, its card identity key, after which the host is who it was. At the verifier: its
    /// token key, its TLS server key, the fleet CA. At both: the sealing key, by which the vault seals its other keys and its store.
    ///
    /// The fleet CA's former key is destroyed. Hosts follow by themselves, guests go on; this operator's folder follows here, other
    /// operators' by `bartizan operator roll-fleet-ca`.
    #[command(
        after_help = "Examples:\n  bartizan key rotate tls-client\n  bartizan key rotate card\n  bartizan key rotate report --vm web\n  bartizan key rotate token\n  bartizan key rotate fleet-ca\n  bartizan key rotate sealing --of verifier"
    )]
    Rotate {
        /// Which kind.
        kind: Rotated,
        /// The guest whose report key it is, by name or UUID.
        #[arg(long, required_if_eq("kind", "report"))]
        vm: Option<String>,
        /// Whose sealing key it is.
        #[arg(long, required_if_eq("kind", "sealing"))]
        of: Option<Whose>,
        #[command(flatten)]
        places: Places,
    },
    /// Destroy a key of the verifier before its certificate ends; one that is in use gives way to a new one first.
    ///
    /// A host, and with it every key that its card certified, is revoked by `bartizan revocation add host`.
    #[command(after_help = "Example: bartizan key revoke token 5a0f…")]
    Revoke {
        /// Which kind.
        kind: Revoked,
        /// The key's id, as `bartizan key list verifier` has it.
        id: String,
        #[command(flatten)]
        verifier: Verifier,
    },
}

/// Whose keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Whose {
    /// This host's, in its vault.
    Host,
    /// The verifier's, in the vault of its own.
    Verifier,
}

/// A key that is rotated on demand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Rotated {
    /// A host's TLS client key.
    TlsClient,
    /// A host's card identity key. No remedy for one that was stolen: revoke the host.
    Card,
    /// The report key of a guest's measurer.
    Report,
    /// The verifier's token key.
    Token,
    /// The verifier's TLS server key.
    TlsServer,
    /// What a vault seals its keys and its store with.
    Sealing,
    /// The fleet CA.
    FleetCa,
}

/// A key that is destroyed on demand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Revoked {
    /// A token key of the verifier.
    Token,
    /// A TLS server key of the verifier.
    TlsServer,
}

/// Where keys are, and who asks.
#[derive(Args, Clone, Debug)]
pub(crate) struct Places {
    #[command(flatten)]
    card: CardPlace,
    #[command(flatten)]
    verifier: VerifierPlace,
    #[command(flatten)]
    credentials: Credentials,
}

impl Places {
    pub(crate) fn card(self) -> Card {
        Card {
            place: self.card,
            credentials: self.credentials,
        }
    }

    pub(crate) fn verifier(self) -> Verifier {
        Verifier {
            place: self.verifier,
            credentials: self.credentials,
        }
    }
}

pub(crate) fn run(command: Key, output: Output) -> Result<ExitCode> {
    match command {
        Key::List { whose, places } => {
            let keys = match whose {
                Whose::Host => host::list(&places.card())?,
                Whose::Verifier => places.verifier().ask("GET", "/v1/keys", None)?["keys"].take(),
            };
            let keys = with_time(keys, "not_after", "valid_until");
            output.table(&keys, &["kind", "id", "current", "valid_until"]);
        }
        Key::History {
            whose,
            kind,
            places,
        } => {
            let events = match whose {
                Whose::Host => host::history(&places.card())?,
                Whose::Verifier => places.verifier().list("/v1/keys/history", "events")?,
            };
            let events = of_kind(with_time(events, "at_s", "at"), kind);
            output.table(&events, &["number", "at", "kind", "event", "id", "why"]);
        }
        Key::Rotate {
            kind,
            vm,
            of,
            places,
        } => rotate(kind, vm, of, places, output)?,
        Key::Revoke { kind, id, verifier } => {
            let kind = kind.name();
            let path = format!("/v1/keys/{kind}/{}", segment(&id));
            verifier.ask("DELETE", &path, None)?;
            let shown = json!({ "ok": true, "kind": kind, "id": id });
            output.result(&shown, &format!("{kind} key {id} is destroyed"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn rotate(
    kind: Rotated,
    vm: Option<String>,
    of: Option<Whose>,
    places: Places,
    output: Output,
) -> Result<()> {
    let at_verifier = |name: &str| {
        let path = format!("/v1/keys/{name}/rotate");
        places.clone().verifier().ask("POST", &path, None)
    };
    let mut shown = match kind {
        Rotated::TlsClient => host::rotate(&places.card(), RotatableKey::TlsClient)?,
        Rotated::Sealing if of == Some(Whose::Verifier) => {
            at_verifier("sealing")?;
            json!({ "kind": "sealing" })
        }
        Rotated::Sealing => host::rotate(&places.card(), RotatableKey::Sealing)?,
        Rotated::Card => host::rotate(&places.card(), RotatableKey::Card)?,
        // The argument is required for this kind.
        Rotated::Report => host::rotate_report_key(&places.card(), vm.unwrap_or_default())?,
        Rotated::Token => at_verifier("token")?,
        Rotated::TlsServer => at_verifier("tls-server")?,
        Rotated::FleetCa => return fleet_ca::rotate(&places.verifier(), output),
    };
    let kind = shown["kind"].as_str().unwrap_or_default().to_owned();
    shown["ok"] = true.into();
    output.result(&shown, &format!("the {kind} key is rotated"));
    Ok(())
}

impl Revoked {
    const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::TlsServer => "tls-server",
        }
    }
}

fn kind(name: &str) -> Result<KeyKind, String> {
    let names = KeyKind::ALL.map(KeyKind::name).join(", ");
    let found = KeyKind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| format!("one of {names}"))
}

/// Rows with a time in seconds as people read it, too.
fn with_time(mut rows: Value, seconds: &str, text: &str) -> Value {
    for row in rows.as_array_mut().into_iter().flatten() {
        if let Some(at_s) = row[seconds].as_u64() {
            row[text] = utc(at_s.saturating_mul(1000)).into();
        }
    }
    rows
}

fn of_kind(mut rows: Value, kind: Option<KeyKind>) -> Value {
    if let (Some(kind), Some(rows)) = (kind, rows.as_array_mut()) {
        rows.retain(|row| row["kind"] == kind.name());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_named_as_it_is_shown() {
        for known in KeyKind::ALL {
            assert_eq!(kind(known.name()), Ok(known));
        }
        assert!(kind("all").unwrap_err().contains("tls-client"));
    }

    #[test]
    fn rows_of_a_kind_have_their_time_for_people() {
        let rows = json!([{"kind": "token", "at_s": 0}, {"kind": "card", "at_s": 1}]);
        let shown = of_kind(with_time(rows, "at_s", "at"), Some(KeyKind::Card));
        assert_eq!(
            shown,
            json!([{"kind": "card", "at_s": 1, "at": "1970-01-01T00:00:01Z"}])
        );
        assert_eq!(
            with_time(json!([{"at_s": null}]), "at_s", "at"),
            json!([{"at_s": null}])
        );
    }
}
