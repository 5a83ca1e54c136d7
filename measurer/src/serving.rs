//! The measurer's life: set up, shut the sandbox, serve.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bartizan_attestation::csr::KeyError;
use bartizan_attestation::host::{FromMeasurer, MeasurerContext, ToMeasurer};
use bartizan_guest_memory::{Gpa, GuestRam, MapRamError, RamRange};

use crate::guest_kernel::{GuestKernel, read_image};
use crate::link::{Link, LinkError};
use crate::measuring::Measuring;
use crate::report_key::{Installed, ReportKeys};
use crate::sandbox::{self, SandboxError};
use crate::snapshot::Tracked;
use crate::tracking::{Tracking, TrackingInputs};

/// How long the supervisor may take to say whom to measure.
const CONTEXT_TIME: Duration = Duration::from_secs(30);

/// What the supervisor passes at the start.
#[derive(Debug)]
pub struct Inputs {
    /// The socket to the supervisor.
    pub control: UnixStream,
    /// The guest's RAM: a memfd, sealed against shrinking.
    pub ram: OwnedFd,
    /// The guest's bzImage.
    pub kernel: Option<File>,
    /// What it takes to track writes, where they can be.
    pub tracking: Option<TrackingInputs>,
}

/// The measurer cannot go on; its supervisor starts another.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be set up.
    #[error("the control socket cannot be used")]
    Socket(#[source] io::Error),
    /// The link broke.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The first message was not the context, or none came in time.
    #[error("no context arrived within {CONTEXT_TIME:?}; the supervisor sends it first")]
    NoContext,
    /// The guest's RAM cannot be mapped.
    #[error("the guest's RAM cannot be mapped")]
    Ram(#[from] MapRamError),
    /// No report key could be made.
    #[error("no report key could be made")]
    Key(#[from] KeyError),
    /// The sandbox could not be shut.
    #[error("the sandbox could not be shut")]
    Sandbox(#[from] SandboxError),
}

/// Serves the supervisor until it closes the link. Sandboxes the whole process for good.
///
/// # Errors
/// [`ServeError`] where the measurer cannot start or the link breaks. A refused request is none.
pub fn serve(inputs: Inputs) -> Result<(), ServeError> {
    let mut link = Link::new(inputs.control).map_err(ServeError::Socket)?;
    let context = receive_context(&mut link)?;
    let guest = context.guest;
    let ram = map(&inputs.ram, &context)?;
    let image = inputs.kernel.as_ref().map(read_image);
    let tracking = inputs
        .tracking
        .and_then(|inputs| tracking(inputs, &context));
    // Nothing but the mapping, the socket and what tracks writes is kept.
    drop((inputs.ram, inputs.kernel));

    // Before the sandbox is shut: at its first use the random number generator looks for /dev/sysgenid.
    let mut keys = ReportKeys::new();
    send_due_csr(&mut keys, &mut link)?;
    sandbox::shut(tracking.is_some())?;

    // Now, not at the first request: nobody waits for it while the card certifies and the guest boots, and
    // the kernel must be found before user space can put up counterfeits. After the sandbox is shut:
    // decompression and parsing of the image run inside it.
    let kernel = GuestKernel::from_image(image, context.kernel_text.map(Gpa));
    if let GuestKernel::Unknown(why) = &kernel {
        tracing::warn!(%why, "processes of this guest cannot be measured");
    }
    tracing::info!(%guest, "ready");
    match serve_requests(
        &mut link,
        Measuring {
            context,
            ram,
            kernel,
            keys,
            tracked: Tracked::new(tracking),
        },
    ) {
        Err(ServeError::Link(LinkError::Closed)) => Ok(()),
        ended => ended,
    }
}

fn serve_requests(link: &mut Link, mut measuring: Measuring) -> Result<(), ServeError> {
    let mut known = measuring.context.kernel_text.map(Gpa);
    loop {
        send_due_csr(&mut measuring.keys, link)?;
        let search_at = measuring.kernel.search(&measuring.ram);
        let found = measuring.kernel.found();
        if let (None, Some(Gpa(text))) = (known, found) {
            link.send(&FromMeasurer::KernelFound { text })?;
        }
        known = known.or(found);
        let wake = [measuring.keys.next_due(), search_at]
            .into_iter()
            .flatten()
            .min();
        let wait = wake.map(|at| at.saturating_duration_since(Instant::now()));
        match link.next(wait)? {
            None => {}
            Some(ToMeasurer::Measure { id, request }) => {
                let outcome = measuring.measure(link, request)?;
                link.send(&FromMeasurer::Measured { id, outcome })?;
            }
            Some(ToMeasurer::Certificate(chain)) => {
                let chain = chain.into_iter().map(Into::into).collect();
                match measuring.keys.install(chain) {
                    Ok(Installed { order, rotated }) => {
                        tracing::info!(
                            destroyed_former = rotated.destroyed.is_some(),
                            "the report key is certified"
                        );
                        link.send(&FromMeasurer::KeyInstalled { order, rotated })?;
                    }
                    Err(why) => tracing::warn!(%why, "a certificate was refused"),
                }
            }
            Some(ToMeasurer::RotateKey { order }) => measuring.keys.rotate(order),
            Some(_) => {
                return Err(LinkError::OutOfTurn {
                    expected: "Measure, Certificate or RotateKey",
                }
                .into());
            }
        }
    }
}

fn receive_context(link: &mut Link) -> Result<MeasurerContext, ServeError> {
    match link.next(Some(CONTEXT_TIME))? {
        Some(ToMeasurer::Context(context)) => Ok(context),
        _ => Err(ServeError::NoContext),
    }
}

fn map(ram: &OwnedFd, context: &MeasurerContext) -> Result<GuestRam, MapRamError> {
    let ranges: Vec<_> = context
        .ram
        .iter()
        .map(|range| RamRange {
            address: Gpa(range.address),
            size: range.size,
            file_offset: range.file_offset,
        })
        .collect();
    GuestRam::map(ram, &ranges)
}

/// What tracks writes; without it, snapshots take longer.
fn tracking(inputs: TrackingInputs, context: &MeasurerContext) -> Option<Tracking> {
    let mapped = context.tracked.as_deref()?;
    Tracking::new(inputs, context, mapped)
        .inspect_err(|why| tracing::warn!(%why, "writes to this guest's RAM cannot be tracked"))
        .ok()
}

fn send_due_csr(keys: &mut ReportKeys, link: &mut Link) -> Result<(), ServeError> {
    if let Some(csr) = keys.due()? {
        link.send(&FromMeasurer::CertificateNeeded { csr })?;
    }
    Ok(())
}
