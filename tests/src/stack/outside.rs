//! A network outside of the host: a network namespace of its own, which a bridge joins with the TAP device of the guests' segment.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};

use crate::accounts::Account;

/// Whoever is outside, on the segment's network: the gateway to others.
pub const OUTSIDE: &str = "10.77.0.254";
/// The same of IPv6.
pub const OUTSIDE_6: &str = "fd77::fe";
/// In another network, behind the gateway.
pub const FAR: &str = "192.0.2.1";

/// How many this process has made: stacks run beside one another.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The network, and the TAP device that leads to it. All of it is gone when this is dropped.
#[derive(Debug)]
pub struct Outside {
    /// What every name of its begins with: of this process and this network alone.
    name: String,
}

impl Outside {
    /// Makes it; the TAP device is the devices' user's.
    pub fn new(devices: Account) -> Result<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let outside = Self {
            name: format!("bz{}-{number}", std::process::id()),
        };
        let Self { name } = &outside;
        let user = devices.uid;
        shell(&format!(
            "set -e
            ip netns add {name}
            ip link add {name}b type bridge forward_delay 0 mcast_snooping 0
            ip link add {name}v type veth peer name outside netns {name}
            ip tuntap add dev {name}t mode tap user {user}
            for device in {name}b {name}t {name}v; do
                echo 1 > /proc/sys/net/ipv6/conf/$device/disable_ipv6
            done
            ip link set {name}t master {name}b
            ip link set {name}v master {name}b
            ip link set {name}b up
            ip link set {name}t up
            ip link set {name}v up
            ip -n {name} address add {FAR}/32 dev lo
            ip -n {name} link set lo up
            ip -n {name} address add {OUTSIDE}/24 dev outside
            ip -n {name} address add {OUTSIDE_6}/64 dev outside nodad
            ip -n {name} link set outside up"
        ))?;
        Ok(outside)
    }

    /// How devices are told of it.
    pub(super) fn settings(&self) -> Value {
        json!([{
            "segment": super::guest::SEGMENT,
            "tap": format!("{}t", self.name),
            "gateway": OUTSIDE,
        }])
    }

    /// Runs a shell's words there; returns whether they succeeded.
    pub fn run(&self, words: &str) -> Result<bool> {
        let mut ip = Command::new("ip");
        ip.args(["netns", "exec", &self.name, "sh", "-c", words]);
        Ok(ip
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?
            .success())
    }

    /// Listens there.
    pub fn listen(&self, address: &str) -> Result<TcpListener> {
        let address: SocketAddr = address.parse()?;
        self.within(move || Ok(TcpListener::bind(address)?))
    }

    /// Connects from there within so many seconds; none where nobody answered.
    pub fn connect(&self, host: &str, port: u16, seconds: u64) -> Result<Option<TcpStream>> {
        let host: IpAddr = host.parse()?;
        let address = SocketAddr::new(host, port);
        let patience = Duration::from_secs(seconds);
        self.within(
            move || match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => Ok(Some(stream)),
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Ok(None),
                Err(error) => Err(error.into()),
            },
        )
    }

    /// Does something in a thread that is there: sockets stay where they were made.
    fn within<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = File::open(format!("/run/netns/{}", self.name))?;
        let there = move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).context("entering the namespace")?;
            act()
        };
        let joined = std::thread::spawn(there).join();
        joined.map_err(|_| anyhow!("a thread of the namespace panicked"))?
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let Self { name } = self;
        let removed = shell(&format!(
            "ip link del {name}b; ip link del {name}t; ip link del {name}v; ip netns del {name}"
        ));
        if let Err(error) = removed {
            eprintln!("the network outside could not be removed: {error:#}");
        }
    }
}

fn shell(words: &str) -> Result<()> {
    let output = Command::new("sh")
        .args(["-c", words])
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
