//! From an error to words and an exit code.

use std::process::ExitCode;

use bartizan_attestation::host::OperatorRefusal;
use bartizan_attestation::operation::OperationRefusal;
use bartizan_cli::release::DescriptionError;

use crate::card::CardError;
use crate::commands::flow::ShownError;
use crate::program::ProgramError;
use crate::verifier::VerifierError;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// A needed service is away.
pub(crate) const UNAVAILABLE: u8 = 69;

/// 2 where the command was given wrongly, 69 where a needed service is away, else 1.
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
    if let Some(error) = error.downcast_ref::<VerifierError>() {
        return match error {
            VerifierError::Address(_) => USAGE,
            VerifierError::Unreachable { .. } | VerifierError::Unanswered { .. } => UNAVAILABLE,
            VerifierError::Refused { status, .. } if *status >= 500 => UNAVAILABLE,
            VerifierError::Refused { .. }
            | VerifierError::Untrusted { .. }
            | VerifierError::Answer { .. }
            | VerifierError::Exchange { .. } => FAILED,
        };
    }
    if error.downcast_ref::<DescriptionError>().is_some() {
        return USAGE;
    }
    if let Some(error) = error.downcast_ref::<ProgramError>() {
        return error.code();
    }
    if let Some(ShownError::Incomplete(_)) = error.downcast_ref() {
        return UNAVAILABLE;
    }
    match error.downcast_ref() {
        Some(
            CardError::Away { .. }
            | CardError::Refused(
                OperationRefusal::StandingUnknown(_)
                | OperationRefusal::StandingUnasked(_)
                | OperationRefusal::HypervisorUnreached(_)
                | OperationRefusal::VaultAway(_)
                | OperationRefusal::HypervisorAway(_)
                | OperationRefusal::VerifierAway(_)
                | OperationRefusal::VerifierBusy(_)
                | OperationRefusal::RotationUnknown(_)
                | OperationRefusal::RotationBegun(_)
                | OperationRefusal::RenewalUnknown(_)
                | OperationRefusal::ResetUnknown(_),
            )
            | CardError::NotDone(OperatorRefusal::DevicesAway(_) | OperatorRefusal::TooManyObservers),
        ) => UNAVAILABLE,
        _ => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use bartizan_channel::ChannelError;

    use super::*;

    fn asked(error: ChannelError) -> u8 {
        number(&VerifierError::channel("verifier.example:8443", error).into())
    }

    #[test]
    fn an_outage_is_told_from_a_stranger() {
        let io = |kind| io::Error::from(kind);
        assert_eq!(
            asked(ChannelError::Connect(io(io::ErrorKind::ConnectionRefused))),
            UNAVAILABLE
        );
        assert_eq!(asked(ChannelError::TimedOut), UNAVAILABLE);
        assert_eq!(
            asked(ChannelError::Handshake(io(io::ErrorKind::UnexpectedEof))),
            UNAVAILABLE
        );
        // What rustls says of a certificate that does not lead to the fleet CA.
        assert_eq!(
            asked(ChannelError::Handshake(io(io::ErrorKind::InvalidData))),
            FAILED
        );
        assert_eq!(asked(ChannelError::TooLarge { limit: 1 }), FAILED);
    }

    #[test]
    fn a_request_that_may_have_been_done_is_not_said_to_be_undone() {
        let said = |error| message(&VerifierError::channel("a:1", error).into());
        for error in [ChannelError::TimedOut, ChannelError::TooLarge { limit: 1 }] {
            let text = said(error);
            assert!(text.contains("is not known"), "{text}");
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let text = said(ChannelError::Connect(refused));
        assert!(text.contains("cannot be reached"), "{text}");
    }

    #[test]
    fn a_cause_is_said_once() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let names_it = VerifierError::channel("a:1", ChannelError::Connect(missing()));
        let text = message(&names_it.into());
        assert_eq!(text.matches(&missing().to_string()).count(), 1, "{text}");
        let named_by_nobody = anyhow::Error::from(missing()).context("could not read it");
        let text = message(&named_by_nobody);
        assert_eq!(text, format!("could not read it: {}", missing()));
    }

    #[test]
    fn a_wrong_address_is_wrong_usage() {
        for error in [
            VerifierError::Address("localhost".into()),
            VerifierError::channel("a b:1", ChannelError::ServerName("a b".into())),
        ] {
            assert_eq!(number(&error.into()), USAGE);
        }
    }

    #[test]
    fn a_verifier_that_cannot_is_told_from_one_that_will_not() {
        let refused = |status| {
            let (kind, detail) = Default::default();
            number(
                &VerifierError::Refused {
                    status,
                    kind,
                    detail,
                }
                .into(),
            )
        };
        assert_eq!([503, 502, 403, 429].map(refused), [69, 69, 1, 1]);
    }
}
