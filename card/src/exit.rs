//! From an error to words and an exit code.

use std::process::ExitCode;

use bartizan_attestation::host::CardRefusal;
use bartizan_card::config::ConfigError;
use bartizan_card::enroll::EnrollError;
use bartizan_card::vault::VaultError;
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
    let away = match error.downcast_ref() {
        Some(EnrollError::Vault(VaultError::Away { .. })) => true,
        Some(EnrollError::Channel(error)) => error.fault() == Fault::Away,
        Some(EnrollError::Refused(CardRefusal::VerifierAway(_))) => true,
        Some(EnrollError::Refused(CardRefusal::VerifierRefused { status, .. })) => *status >= 500,
        _ => matches!(error.downcast_ref(), Some(VaultError::Away { .. })),
    };
    match error.downcast_ref::<ConfigError>() {
        Some(_) => 2,
        None if away => 69,
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

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
