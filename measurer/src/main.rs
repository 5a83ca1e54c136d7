//! `bartizan-measurer`: see the library's documentation.

mod inherited;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Measures one guest's RAM and signs the report.
///
/// Started by the guest's supervisor, never by hand. Descriptors: 3 the control socket, 4 the guest's RAM
/// (a memfd opened read-only, sealed against shrinking), 5 the guest's bzImage if `--kernel` is given; if `--tracked` is, 6 the page
/// map of QEMU, 7 the log of what device back ends write, 8 QEMU's userfaultfd.
///
/// Example: bartizan-measurer --kernel --log-json 3<>CONTROL 4<RAM 5<vmlinuz
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// Descriptor 5 is the guest's bzImage; without it processes cannot be measured.
    #[arg(long)]
    kernel: bool,
    /// Descriptors 6 to 8 are what tracks writes to the guest's RAM; without them the guest stands still for longer.
    #[arg(long)]
    tracked: bool,
    /// Log as JSON.
    #[arg(long)]
    log_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.log_json);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not as main's result: printing a backtrace would open files, which the sandbox punishes.
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let inputs = inherited::inputs(arguments.kernel, arguments.tracked).context(
        "take over the supervisor's descriptors; start the measurer through its supervisor",
    )?;
    bartizan_measurer::serve(inputs).context("measure")
}

fn start_logging(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logging = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        logging.json().init()
    } else {
        logging.with_ansi(false).init()
    }
}
