//! `/init` of the enclave: the machine's first and only process.

#![forbid(unsafe_code)]

use std::error::Error;

use bartizan_enclave::config::Config;
use bartizan_enclave::confinement;
use bartizan_enclave::machine::{self, Ports};
use bartizan_enclave::run::{Enclave, run};

fn main() {
    // Whoever looks at the program, rather than boots it.
    if std::process::id() != 1 {
        eprintln!("bartizan-enclave is the first process of a machine of its own");
        std::process::exit(2);
    }
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        machine::end();
    }));
    if let Err(error) = live() {
        eprintln!("the enclave ends: {error}");
    }
    machine::end()
}

fn live() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    machine::set_up()?;
    let config = Config::parse(&machine::configuration()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let ports = Ports::open().await?;
        let enclave = Enclave::new(config)?;
        confinement::confine()?;
        tracing::info!("serving");
        run(&enclave, ports).await.map_err(Into::into)
    })
}
