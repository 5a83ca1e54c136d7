//! What is to be seen of a guest's flows: devices tell it, it goes on to the card piece by piece, packets as a pcap file.
//!
//! Nothing is kept here but the piece under way: who does not read has devices leave out what comes meanwhile. Whichever end closes its
//! link ends it.

mod pcap;
mod shown;

use std::path::Path;
use std::time::Duration;

use bartizan_attestation::host::{
    FlowsEnd, FlowsSeen, FlowsTally, MAX_FRAME, Observation, ObserveFlows, OperatorRefusal,
    OperatorReply,
};
use bartizan_local::admission::{self, AdmissionRequest};
use bartizan_local::flow::Guest;
use bartizan_local::observation::{self, ObservationRefusal, Observe, Observed};
use bartizan_local::{FrameError, aio};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::registry::Registry;

/// How long devices may say nothing: once a second they say that it goes on.
const SILENCE: Duration = Duration::from_secs(10);

/// Answers the card piece by piece; returns the last of them.
pub(super) async fn show(
    card: &mut UnixStream,
    registry: &Registry,
    asked: &ObserveFlows,
) -> Result<OperatorReply, OperatorRefusal> {
    let devices = begin(registry, asked).await?;
    let relayed = relay(card, devices, asked).await;
    Ok(relayed.unwrap_or_else(|error| {
        tracing::debug!(%error, "the card has left what it was shown");
        OperatorReply::Seen(FlowsSeen::Ended {
            why: FlowsEnd::Left,
            tally: FlowsTally::default(),
        })
    }))
}

/// A link to devices that were asked.
async fn begin(registry: &Registry, asked: &ObserveFlows) -> Result<UnixStream, OperatorRefusal> {
    let boot = registry.find(&asked.vm)?.boot();
    let boot = boot.ok_or_else(|| OperatorRefusal::NotRunning(asked.vm.clone()))?;
    let observe = Observe {
        guest: Guest {
            vm: boot.vm,
            boot: boot.boot,
        },
        filter: shown::filter(&asked.filter),
        what: shown::what(&asked.what),
    };
    tracing::info!(guest = %boot, what = ?asked.what, filter = ?asked.filter, "its flows are shown");
    ask(&registry.config.devices_socket, observe).await
}

async fn ask(socket: &Path, observe: Observe) -> Result<UnixStream, OperatorRefusal> {
    let away = |error: &dyn std::error::Error| OperatorRefusal::DevicesAway(error.to_string());
    let connected = UnixStream::connect(socket).await;
    let mut devices = connected.map_err(|error| away(&error))?;
    let request = AdmissionRequest::Observe(observe);
    let asked = aio::write_frame(&mut devices, &request, admission::MAX_FRAME).await;
    asked.map_err(|error| away(&error))?;
    Ok(devices)
}

/// Hands on what devices say; returns the last of it.
async fn relay(
    card: &mut UnixStream,
    mut devices: UnixStream,
    asked: &ObserveFlows,
) -> Result<OperatorReply, FrameError> {
    let mut says = async |seen| {
        let reply = OperatorReply::Seen(seen);
        aio::write_frame(&mut *card, &reply, MAX_FRAME).await
    };
    let mut snap = match asked.what {
        Observation::Capture(limits) => Some(limits.snap),
        Observation::List | Observation::Watch(_) => None,
    };
    loop {
        let said = match next(&mut devices).await {
            Ok(said) => said,
            Err(refusal) => return Ok(OperatorReply::Refused(refusal)),
        };
        if let Observed::Refused(why) = said {
            return Ok(OperatorReply::Refused(refusal(why, &asked.vm)));
        }
        // A capture of nothing is a file, too.
        if let Some(snap) = snap.take() {
            says(FlowsSeen::Pcap(pcap::header(snap))).await?;
        }
        match said {
            Observed::Flows(flows) => {
                for piece in flows.chunks(bartizan_attestation::host::MAX_FLOWS) {
                    let flows = piece.iter().map(shown::flow).collect();
                    says(FlowsSeen::Flows(flows)).await?;
                }
            }
            Observed::Packets(packets) => says(FlowsSeen::Pcap(pcap::records(&packets))).await?,
            Observed::Going(tally) => says(FlowsSeen::Going(shown::tally(tally))).await?,
            Observed::Ended { why, tally } => {
                return Ok(OperatorReply::Seen(FlowsSeen::Ended {
                    why: shown::end(why),
                    tally: shown::tally(tally),
                }));
            }
            Observed::Refused(_) => {}
        }
    }
}

async fn next(devices: &mut UnixStream) -> Result<Observed, OperatorRefusal> {
    let read = aio::read_frame(devices, observation::MAX_FRAME);
    let read = timeout(SILENCE, read).await;
    match read {
        Ok(Ok(said)) => Ok(said),
        Ok(Err(error)) => Err(OperatorRefusal::DevicesAway(error.to_string())),
        Err(late) => Err(OperatorRefusal::DevicesAway(late.to_string())),
    }
}

fn refusal(why: ObservationRefusal, vm: &str) -> OperatorRefusal {
    match why {
        ObservationRefusal::NoDevice => OperatorRefusal::NoNetwork(vm.to_owned()),
        ObservationRefusal::TooMany => OperatorRefusal::TooManyObservers,
        // An order has none such; both are of one version, or one of them is not what was measured.
        ObservationRefusal::Limits => OperatorRefusal::DevicesAway(why.to_string()),
    }
}

#[cfg(test)]
mod tests;
