//! The operators' requests on this host, as the card hands them on.

use std::sync::Arc;
use std::time::Duration;

use bartizan_attestation::host::{
    EnclaveLink, GuestState, GuestSummary, MAX_FRAME, OperatorRefusal, OperatorReply,
    OperatorRequest, SupervisorReply, SupervisorRequest,
};
use bartizan_attestation::launch::verify_record;
use bartizan_local::aio;
use tokio::net::{UnixListener, UnixStream};

use super::flows;
use super::guest::Guest;
use super::launch::Order;
use super::places::Known;
use super::registry::Registry;
use crate::clock::unix_now;
use crate::socket;

/// How long a request may take to arrive.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Binds the operators' socket.
pub(super) fn bind(registry: &Registry) -> std::io::Result<UnixListener> {
    socket::bind(&registry.config.operator_socket)
}

/// Serves the card.
pub(super) async fn serve(listener: UnixListener, registry: Arc<Registry>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let allowed = |uid| registry.config.allowed_uids.contains(&uid);
        if !stream.peer_cred().is_ok_and(|peer| allowed(peer.uid())) {
            continue;
        }
        tokio::spawn(conversation(stream, Arc::clone(&registry)));
    }
}

async fn conversation(mut stream: UnixStream, registry: Arc<Registry>) {
    let request =
        tokio::time::timeout(REQUEST_DEADLINE, aio::read_frame(&mut stream, MAX_FRAME)).await;
    let Ok(Ok(request)) = request else { return };
    let reply = match answer(&registry, request, &mut stream).await {
        Ok(reply) => reply,
        Err(refusal) => OperatorReply::Refused(refusal),
    };
    if let Err(error) = aio::write_frame(&mut stream, &reply, MAX_FRAME).await {
        tracing::debug!(%error, "the card went away");
    }
}

/// The answer, or the last piece of one whose others have gone by `stream`.
async fn answer(
    registry: &Arc<Registry>,
    request: OperatorRequest,
    stream: &mut UnixStream,
) -> Result<OperatorReply, OperatorRefusal> {
    match request {
        OperatorRequest::Run { record } => {
            let ordered_at_s = unix_now();
            // Its operator, or the anchor in it, may be of a CA of the fleet that is not known yet, or of one that has ended since.
            registry.anchors.ask_if_there().await;
            let verified = verify_record(&record, &registry.anchors.ca(), ordered_at_s);
            let verified =
                verified.map_err(|error| OperatorRefusal::BadRecord(error.to_string()))?;
            tracing::info!(
                operator = verified.operator,
                vm = verified.record.name,
                "run"
            );
            registry
                .start(Order {
                    verified,
                    signed: record,
                    ordered_at_s,
                    by_policy: false,
                })
                .await
                .map(OperatorReply::Guest)
        }
        OperatorRequest::List => {
            // All at once: each that does not answer takes its time.
            let asked: Vec<_> = registry
                .known()
                .into_iter()
                .map(|known| tokio::spawn(async move { summary(&known).await }))
                .collect();
            let mut guests = Vec::new();
            for summary in asked {
                guests.extend(summary.await);
            }
            Ok(OperatorReply::Guests(guests))
        }
        OperatorRequest::ObserveFlows(asked) => flows::show(stream, registry, &asked).await,
        OperatorRequest::ShowEnclave => Ok(OperatorReply::Enclave(EnclaveLink {
            since_s: registry.enclave.since_s(),
            guests: registry.running.count() as u64,
        })),
        OperatorRequest::Show { vm } => {
            let known = registry.find(&vm)?;
            let status = match &known {
                Known::Guest(guest) => guest.supervisor.status().await.ok(),
                Known::Pending(..) | Known::Unheard(_) => None,
            };
            Ok(match status {
                Some(status) => OperatorReply::Guest(status),
                None => OperatorReply::Summary(without_supervisor(&known)),
            })
        }
        OperatorRequest::Stop { vm, force } => {
            super::stop::stop(registry, registry.find(&vm)?, force).await?;
            Ok(OperatorReply::Done)
        }
        OperatorRequest::Console { vm, max } => {
            let guest = running(registry, &vm)?;
            let request = SupervisorRequest::Console { max };
            match guest.supervisor.ask(&request).await {
                Ok(SupervisorReply::Console(bytes)) => Ok(OperatorReply::Console(bytes)),
                _ => Err(OperatorRefusal::Unresponsive(vm)),
            }
        }
        OperatorRequest::RotateReportKey { vm } => {
            let guest = running(registry, &vm)?;
            let asked = guest.supervisor.ask(&SupervisorRequest::RotateReportKey);
            match asked.await {
                Ok(SupervisorReply::ReportKeyRotated(rotated)) => {
                    Ok(OperatorReply::ReportKeyRotated(rotated))
                }
                Ok(SupervisorReply::Refused(why)) => Err(OperatorRefusal::NotRotated { vm, why }),
                Ok(_) => Err(OperatorRefusal::Unresponsive(vm)),
                Err(error) => {
                    let why = error.to_string();
                    Err(OperatorRefusal::NotRotated { vm, why })
                }
            }
        }
    }
}

/// A guest whose supervisor is there.
fn running(registry: &Registry, vm: &str) -> Result<Arc<Guest>, OperatorRefusal> {
    match registry.find(vm)? {
        Known::Guest(guest) => Ok(guest),
        Known::Unheard(_) => Err(OperatorRefusal::Unresponsive(vm.into())),
        Known::Pending(..) => Err(OperatorRefusal::NotRunning(vm.into())),
    }
}

async fn summary(known: &Known) -> GuestSummary {
    if let Known::Guest(guest) = known
        && let Ok(status) = guest.supervisor.status().await
    {
        return GuestSummary {
            state: status.state,
            ..of_guest(guest)
        };
    }
    without_supervisor(known)
}

fn without_supervisor(known: &Known) -> GuestSummary {
    match known {
        Known::Pending(pending, state) => pending.summary(*state),
        Known::Guest(guest) => of_guest(guest),
        Known::Unheard(guest) => guest.summary(),
    }
}

/// What is known without its supervisor.
fn of_guest(guest: &Guest) -> GuestSummary {
    GuestSummary {
        name: guest.record.name.clone(),
        guest: guest.identity.to_string(),
        role: guest.record.role.clone(),
        state: GuestState::Unresponsive,
        enrolled: guest.enrollment().is_some(),
    }
}
