//! Handing an operation to the hypervisor, which answers this card's user alone.

use std::path::Path;
use std::time::Duration;

use bartizan_attestation::host::{
    FlowsEnd, FlowsSeen, FlowsTally, MAX_FRAME, OperatorReply, OperatorRequest,
};
use bartizan_attestation::operation::OperationRefusal;
use bartizan_local::aio;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::shown::Shown;

/// How long an answer may take: starting a guest hashes its disks, for 240 s at most.
const DEADLINE: Duration = Duration::from_secs(270);

/// How long it may say nothing while it shows something: once a second it says that it goes on.
const SILENCE: Duration = Duration::from_secs(30);

/// Asks once.
pub(super) async fn ask(
    socket: &Path,
    request: &OperatorRequest,
) -> Result<OperatorReply, OperationRefusal> {
    let mut link = connect(socket).await?;
    let exchange = async {
        aio::write_frame(&mut link, request, MAX_FRAME).await?;
        aio::read_frame(&mut link, MAX_FRAME).await
    };
    match timeout(DEADLINE, exchange).await {
        Ok(answered) => answered.map_err(|error| away(&error)),
        Err(late) => Err(away(&late)),
    }
}

/// Asks for what is shown piece by piece; returns its end, all before that goes by `shown`. It is over where nobody takes that any more.
pub(super) async fn observe(
    socket: &Path,
    request: &OperatorRequest,
    shown: &mut Shown<'_>,
) -> Result<OperatorReply, OperationRefusal> {
    let mut link = connect(socket).await?;
    let asked = aio::write_frame(&mut link, request, MAX_FRAME).await;
    asked.map_err(|error| away(&error))?;
    let mut tally = FlowsTally::default();
    loop {
        let read = timeout(SILENCE, aio::read_frame(&mut link, MAX_FRAME)).await;
        let reply: OperatorReply = match read {
            Ok(read) => read.map_err(|error| away(&error))?,
            Err(late) => return Err(away(&late)),
        };
        let piece = match reply {
            OperatorReply::Seen(FlowsSeen::Ended { .. }) => return Ok(reply),
            OperatorReply::Seen(piece) => piece,
            _ => return Ok(reply),
        };
        if let FlowsSeen::Going(so_far) = &piece {
            tally = *so_far;
        }
        if !shown.hand_on(piece).await {
            let why = FlowsEnd::Left;
            return Ok(OperatorReply::Seen(FlowsSeen::Ended { why, tally }));
        }
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, OperationRefusal> {
    let unreached = |error: std::io::Error| {
        OperationRefusal::HypervisorUnreached(format!("{}: {error}", socket.display()))
    };
    UnixStream::connect(socket).await.map_err(unreached)
}

fn away(error: &dyn std::error::Error) -> OperationRefusal {
    OperationRefusal::HypervisorAway(error.to_string())
}
