//! From an error to words and an exit code.

use std::process::ExitCode;

use bartizan_attestation::host::CardRefusal;
use bartizan_card::config::ConfigError;
use bartizan_card::enroll::EnrollError;
use bartizan_card::service::CardError;
use bartizan_channel::Fault;

/// 2 for a wrong configuration, 69 (EX_UNAVAILABLE of sysexits.h) where vault or verifier are away, else 1.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(number(error))
}

/// What went wrong, with its causes; most messages name theirs already.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn number(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<ConfigError>().is_some() {
        return 2;
    }
    let away = match error.downcast_ref() {
        Some(EnrollError::Vault(error)) => error.is_absent(),
        Some(EnrollError::Channel(error) | EnrollError::Unanswered(error)) => {
            error.fault() == Fault::Away
        }
        Some(EnrollError::Refused(refusal)) => is_away(refusal),
        _ => matches!(error.downcast_ref(), Some(CardError::Vault(error)) if error.is_absent()),
    };
    if away { 69 } else { 1 }
}

const fn is_away(refusal: &CardRefusal) -> bool {
    match refusal {
        CardRefusal::VerifierAway(_) | CardRefusal::VaultAway(_) => true,
        CardRefusal::VerifierRefused { status, .. } => *status >= 500,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bartizan_attestation::keys::VaultRefusal;
    use bartizan_card::vault::VaultError;
    use bartizan_channel::ChannelError;

    use super::*;

    fn channel(error: ChannelError) -> u8 {
        number(&EnrollError::Channel(error).into())
    }

    #[test]
    fn an_outage_is_told_from_a_stranger() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(channel(ChannelError::Connect(refused())), 69);
        assert_eq!(channel(ChannelError::TimedOut), 69);
        let stranger = io::Error::new(io::ErrorKind::InvalidData, "UnknownIssuer");
        assert_eq!(channel(ChannelError::Handshake(stranger)), 1);
    }

    #[test]
    fn a_verifier_that_cannot_is_told_from_one_that_will_not() {
        let refused = |status| {
            let problem = String::new();
            let refusal = CardRefusal::VerifierRefused { status, problem };
            number(&EnrollError::Refused(refusal).into())
        };
        assert_eq!([503, 403].map(refused), [69, 1]);
    }

    #[test]
    fn an_outage_is_one_whatever_was_to_be_done() {
        let vault = || VaultError::Away {
            socket: "/run/vault".into(),
            error: io::Error::from(io::ErrorKind::NotFound).into(),
        };
        let device = VaultRefusal::DeviceAway("no TPM".into());
        let away = CardRefusal::VerifierAway("down".into());
        let unsigned = CardRefusal::LinkUnusable("not signed".into());
        for (error, expected) in [
            (EnrollError::Vault(vault()).into(), 69),
            (EnrollError::Vault(device.into()).into(), 69),
            (EnrollError::Refused(away).into(), 69),
            (EnrollError::Refused(unsigned).into(), 1),
            (CardError::Vault(vault()).into(), 69),
            (CardError::NotEnrolled.into(), 1),
            (anyhow::anyhow!("something else"), 1),
        ] {
            assert_eq!(number(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_request_that_may_have_been_done_is_not_said_to_be_undone() {
        let asked = |error: ChannelError| message(&EnrollError::from(error).into());
        let silent = asked(ChannelError::TimedOut);
        assert!(silent.contains("not known"), "{silent}");
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreached = asked(ChannelError::Connect(refused()));
        assert!(unreached.contains("was not asked"), "{unreached}");
    }

    #[test]
    fn a_cause_is_said_once() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = EnrollError::Channel(ChannelError::Connect(refused()));
        let text = message(&error.into());
        assert_eq!(text.matches(&refused().to_string()).count(), 1, "{text}");
    }

    #[test]
    fn a_wrong_configuration_is_wrong_usage() {
        let missing = bartizan_card::Config::load("/nonexistent".as_ref());
        assert_eq!(number(&missing.unwrap_err().into()), 2);
    }
}
