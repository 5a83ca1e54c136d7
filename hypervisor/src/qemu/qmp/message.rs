//! What QEMU says, as types.

use serde::Deserialize;
use serde_json::Value;

/// A message of QEMU's.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// The first line: QEMU speaks QMP.
    Greeting,
    /// A command succeeded.
    Return {
        /// The command's id.
        id: u64,
        /// What it returns.
        value: Value,
    },
    /// A command failed.
    Failure {
        /// The command's id; absent where QEMU could not read it.
        id: Option<u64>,
        /// What QEMU says of it.
        description: String,
    },
    /// The guest or QEMU ends.
    Shutdown(ShutdownCause),
    /// The guest ran, and its virtual CPUs stand still now (`STOP` in qapi/run-state.json).
    Stopped,
    /// An event that nobody here waits for.
    OtherEvent(String),
}

/// Why QEMU ends (`ShutdownCause` in qapi/run-state.json).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShutdownCause {
    /// The guest powered itself off.
    GuestShutdown,
    /// The guest reset itself.
    GuestReset,
    /// Anything else: a signal, a panic, QMP.
    Other,
}

/// A line that is no message of QMP's.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is no JSON object of a known shape.
    #[error("a line of QEMU's is no QMP: {0}")]
    Json(#[from] serde_json::Error),
    /// It is an object, but neither greeting, reply nor event.
    #[error("a message of QEMU's is neither greeting, reply nor event")]
    Shapeless,
}

/// Reads one line.
pub fn parse(line: &[u8]) -> Result<Message, MessageError> {
    let raw: Raw = serde_json::from_slice(line)?;
    match raw {
        Raw {
            greeting: Some(_), ..
        } => Ok(Message::Greeting),
        Raw {
            event: Some(event),
            data,
            ..
        } if event == "SHUTDOWN" => {
            let reason = data
                .as_ref()
                .and_then(|data| data.get("reason"))
                .and_then(Value::as_str);
            Ok(Message::Shutdown(match reason {
                Some("guest-shutdown") => ShutdownCause::GuestShutdown,
                Some("guest-reset") => ShutdownCause::GuestReset,
                _ => ShutdownCause::Other,
            }))
        }
        Raw {
            event: Some(event), ..
        } if event == "STOP" => Ok(Message::Stopped),
        Raw {
            event: Some(event), ..
        } => Ok(Message::OtherEvent(event)),
        Raw {
            error: Some(error),
            id,
            ..
        } => Ok(Message::Failure {
            id,
            description: error.desc,
        }),
        Raw {
            value: Some(value),
            id: Some(id),
            ..
        } => Ok(Message::Return { id, value }),
        Raw { .. } => Err(MessageError::Shapeless),
    }
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    event: Option<String>,
    data: Option<Value>,
    #[serde(rename = "return")]
    value: Option<Value>,
    error: Option<RawError>,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct RawError {
    desc: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_is_told() {
        assert_eq!(
            parse(br#"{"QMP": {"version": {}}}"#).unwrap(),
            Message::Greeting
        );
        assert_eq!(
            parse(br#"{"return": {"status": "running"}, "id": 4}"#).unwrap(),
            Message::Return {
                id: 4,
                value: json!({"status": "running"})
            }
        );
        assert_eq!(
            parse(br#"{"id": 5, "error": {"class": "GenericError", "desc": "no"}}"#).unwrap(),
            Message::Failure {
                id: Some(5),
                description: "no".into()
            }
        );
        let shutdown = br#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN",
            "data": {"guest": true, "reason": "guest-reset"}}"#;
        assert_eq!(
            parse(shutdown).unwrap(),
            Message::Shutdown(ShutdownCause::GuestReset)
        );
        assert_eq!(parse(br#"{"event": "STOP"}"#).unwrap(), Message::Stopped);
        assert_eq!(
            parse(br#"{"event": "SUSPEND"}"#).unwrap(),
            Message::OtherEvent("SUSPEND".into())
        );
    }

    #[test]
    fn a_reply_without_its_id_answers_nothing() {
        assert!(matches!(
            parse(br#"{"return": {}}"#),
            Err(MessageError::Shapeless)
        ));
        assert!(parse(br#"{"return": {}, "id": -1}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(line: Vec<u8>) {
            let _ = parse(&line);
        }

        #[test]
        fn any_json_is_judged_without_a_panic(name in "QMP|event|data|return|error|id", value in "null|1|\"x\"|\\{\\}|\\[\\[\\[\\]\\]\\]") {
            let _ = parse(format!("{{\"{name}\": {value}, \"id\": 1}}").as_bytes());
        }
    }
}
