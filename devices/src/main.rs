//! `bartizan-devices`: serves guests' vsock and network devices over vhost-user.

mod tap;

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use bartizan_devices::decisions::{self, Decisions};
use bartizan_devices::net::Fabric;
use bartizan_devices::net::uplink::{self, Tap, Uplink};
use bartizan_devices::{config::Config, control, hardening};
use bartizan_local::Notifier;
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Serves guests' vsock and network devices over vhost-user. Holds no key, opens no file once it serves.
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Arguments {
    /// The configuration, YAML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Logs JSON, one object a line.
    #[arg(long)]
    log_json: bool,
}

const EXAMPLE: &str = "\
Example:
  bartizan-devices --config /etc/bartizan/devices.yaml

  /etc/bartizan/devices.yaml:
    control_socket: /run/bartizan/devices/control.sock
    decisions_socket: /run/bartizan/devices/decisions.sock
    hypervisor_uid: 990        # the user that the hypervisor daemon runs as
    allowed_uids: [991]        # the user that supervisors run as
    connections_per_guest: 256 # optional
    uplinks:                   # optional: guests of these segments reach what is outside of this host
    - segment: front
      tap: bartizan0           # ip tuntap add dev bartizan0 mode tap user bartizan-devices
      gateway: 10.77.0.254     # optional, as are gateway_v6, gateway_mac and resolvers
    log: info                  # optional

If NOTIFY_SOCKET is set, it is told when the daemon serves (sd_notify(3)).";

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let config = Config::load(&arguments.config).context("the configuration cannot be used")?;
    start_log(config.log.as_deref().unwrap_or("info"), arguments.log_json)?;
    let listener = control::bind(&config.control_socket)?;
    let deciders = control::bind(&config.decisions_socket)?;
    let taps = open_taps(&config)?;
    // Opened before the filter, which allows no new socket.
    let notifier = Notifier::from_env().context("NOTIFY_SOCKET cannot be used")?;
    hardening::confine().context("the process could not be confined")?;
    notifier.ready().context("NOTIFY_SOCKET cannot be used")?;
    tracing::info!(control_socket = %config.control_socket.display(), "ready");
    let decisions = Decisions::new();
    serve_deciders(&decisions, deciders, config.hypervisor_uid)?;
    let fabric = serve_uplinks(taps)?;
    match control::serve(&listener, &config, &decisions, fabric)? {}
}

/// Before the process is confined: it opens nothing afterwards.
fn open_taps(config: &Config) -> anyhow::Result<Vec<(Arc<Uplink>, Tap)>> {
    let uplinks = config.uplinks.iter();
    let opened = uplinks.map(|settings| {
        let tap = Tap::new(tap::open(&settings.tap)?);
        Ok((Arc::new(Uplink::new(settings.clone())?), tap))
    });
    opened.collect()
}

fn serve_uplinks(taps: Vec<(Arc<Uplink>, Tap)>) -> io::Result<Arc<Fabric>> {
    let uplinks: Vec<_> = taps.iter().map(|(uplink, _)| Arc::clone(uplink)).collect();
    let fabric = Arc::new(Fabric::with_uplinks(&uplinks));
    for (uplink, tap) in taps {
        let fabric = Arc::clone(&fabric);
        let serve = move || {
            let segment = &uplink.settings.segment;
            match uplink::serve(&fabric, &uplink, tap) {
                Ok(never) => match never {},
                Err(error) => {
                    tracing::error!(%segment, %error, "its guests reach nothing outside any more, until this process is started anew");
                }
            }
        };
        thread::Builder::new().name("uplink".into()).spawn(serve)?;
    }
    Ok(fabric)
}

fn serve_deciders(decisions: &Arc<Decisions>, listener: UnixListener, uid: u32) -> io::Result<()> {
    let decisions = Arc::clone(decisions);
    let serve = move || match decisions::serve(&decisions, &listener, uid) {
        Ok(never) => match never {},
        Err(error) => {
            tracing::error!(%error, "nobody can decide on flows any more; this process ends, to be started anew");
            std::process::exit(1)
        }
    };
    thread::Builder::new()
        .name("deciders".into())
        .spawn(serve)?;
    Ok(())
}

fn start_log(directives: &str, json: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives).context("`log` is no filter; try `info`")?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        log.json().init()
    } else {
        log.init()
    }
    Ok(())
}
