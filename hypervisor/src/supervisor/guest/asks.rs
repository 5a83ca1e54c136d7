//! What the daemon asks.

use bartizan_attestation::host::ToMeasurer;

use super::super::control::Ask;
use super::Guest;
use crate::clock::unix_now_ms;

impl Guest<'_> {
    /// Works one request off. An answer that nobody waits for any more is dropped.
    pub(super) async fn ask(&mut self, ask: Ask) {
        let ask = if self.hung { ask.of_hung() } else { Some(ask) };
        let Some(ask) = ask else { return };
        match ask {
            Ask::Measure { request, answer } => {
                self.watchdog.alive();
                self.measure(request, answer);
            }
            Ask::InstallCertificate { chain, answer } => {
                let taken = self.keeper.tell(ToMeasurer::Certificate(chain));
                if taken {
                    self.view.send_modify(|view| view.certificate_needed = None);
                }
                let away = || "there is no measurer at present".to_owned();
                let _ = answer.send(taken.then_some(()).ok_or_else(away));
            }
            Ask::TakeLaunchSecret { answer } => {
                self.watchdog.alive();
                let secret = self.enrolment.take();
                let _ = answer.send(secret.map_err(|error| error.to_string()));
            }
            Ask::Enrol {
                secret,
                key,
                answer,
            } => {
                self.watchdog.alive();
                let enrolled = self.enrolment.enrol(&secret, key);
                let _ = answer.send(enrolled.map_err(|error| error.to_string()));
            }
            Ask::Renew {
                request,
                chain,
                answer,
            } => {
                let renewed = self.enrolment.renew(&request, chain, unix_now_ms());
                let _ = answer.send(renewed);
            }
            Ask::RotateReportKey { answer } => self.rotate_report_key(answer),
            Ask::Stop { force, answer } => self.stop(force, answer).await,
        }
    }
}
