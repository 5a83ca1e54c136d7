//! Handing an operation to the hypervisor, which answers this card's user alone.

use std::path::Path;
use std::time::Duration;

use bartizan_attestation::host::{MAX_FRAME, OperatorReply, OperatorRequest};
use bartizan_attestation::operation::OperationRefusal;
use bartizan_local::aio;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may take: starting a guest hashes its disks, for 240 s at most.
const DEADLINE: Duration = Duration::from_secs(270);

/// Asks once.
pub(super) async fn ask(
    socket: &Path,
    request: &OperatorRequest,
) -> Result<OperatorReply, OperationRefusal> {
    let unreached = |error: std::io::Error| {
        OperationRefusal::HypervisorUnreached(format!("{}: {error}", socket.display()))
    };
    let mut link = UnixStream::connect(socket).await.map_err(unreached)?;
    let exchange = async {
        aio::write_frame(&mut link, request, MAX_FRAME).await?;
        aio::read_frame(&mut link, MAX_FRAME).await
    };
    let away = |error: &dyn std::error::Error| OperationRefusal::HypervisorAway(error.to_string());
    match timeout(DEADLINE, exchange).await {
        Ok(answered) => answered.map_err(|error| away(&error)),
        Err(late) => Err(away(&late)),
    }
}
