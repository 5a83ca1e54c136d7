//! What the server serves besides pages.

use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{SOON, WEB};
use crate::agent::Agent;

/// A network behind the server, to which it hands on what comes for iperf3.
#[derive(Debug)]
pub struct Inner {
    /// What it takes, in bytes.
    pub mtu: u16,
}

/// Less than what the guests' own network takes, and enough for IPv6.
pub const INNER: Inner = Inner { mtu: 1320 };

/// Clients may ask the server by ssh, DNS, HTTP and iperf3, and nobody anything else; with `more`, UDP ports, they may send to those, too.
#[must_use]
pub fn servers_only(more: &[u16]) -> Value {
    let both = |name: &str, protocol: &str, ports: &[u16]| -> [Value; 2] {
        [("ingress", "client"), ("egress", "web")].map(|(direction, role)| {
            json!({ "name": format!("{name}-{direction}"), "effect": "allow", "network": {
                "direction": direction, "protocols": [protocol], "ports": ports,
                "peer": { "roles": [role] },
            } })
        })
    };
    let tcp = both("tcp", "tcp", &[22, 53, 80, 5201]);
    let udp = both("udp", "udp", &[&[53, 5201], more].concat());
    json!([tcp, udp].concat())
}

/// Starts servers for ssh, DNS and iperf3; the client's key opens ssh.
pub fn start(web: &mut Agent, client: &mut Agent) -> Result<()> {
    let key = client.must(
        "mkdir -p -m 700 /root/.ssh
        [ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
        cat /root/.ssh/id_ed25519.pub",
    )?;
    let placed = web.run_with_input(
        "mkdir -p -m 700 /root/.ssh /run/sshd && cat > /root/.ssh/authorized_keys",
        &key,
    )?;
    ensure!(placed.code == Some(0), "{placed:?}");
    web.must(&format!(
        "/usr/sbin/sshd
        /usr/sbin/dnsmasq --no-resolv --no-hosts --address=/ledger.example/{WEB} \
            --bind-interfaces --listen-address={WEB} --user=root --pid-file=/run/dnsmasq.pid
        iperf3 -s -D -I /run/iperf3.pid"
    ))?;
    for port in [22, 53, 80, 5201] {
        listens(web, port, "")?;
    }
    Ok(())
}

/// Ends them.
pub fn stop(web: &mut Agent) -> Result<()> {
    web.must(
        "for name in sshd dnsmasq iperf3; do kill $(tr -d '\\0' < /run/$name.pid); done
        rm -f /var/www/html/large /root/.ssh/authorized_keys",
    )?;
    Ok(())
}

/// Makes that network, and starts an iperf3 there, which says that it takes more than its network does.
pub fn start_inner(web: &mut Agent) -> Result<()> {
    let Inner { mtu } = INNER;
    web.must(&format!(
        "set -e
        ip netns add inner
        ip link add outer type veth peer name inner netns inner
        ip address add 192.168.99.1/24 dev outer
        ip address add fd99::1/64 dev outer nodad
        ip link set outer mtu {mtu} up
        ip -n inner address add 192.168.99.2/24 dev inner
        ip -n inner address add fd99::2/64 dev inner nodad
        ip -n inner link set inner mtu {mtu} up
        ip -n inner route add default via 192.168.99.1 advmss 1440
        ip -n inner route add default via fd99::1 advmss 1420
        echo 1 > /proc/sys/net/ipv4/ip_forward
        echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
        nft 'table inet inner {{ chain in {{ type nat hook prerouting priority dstnat;
            iifname \"eth0\" meta nfproto ipv4 tcp dport 5201 dnat ip to 192.168.99.2
            iifname \"eth0\" meta nfproto ipv6 tcp dport 5201 dnat ip6 to fd99::2
        }}
        }}'
        ip netns exec inner iperf3 -s -D -I /run/iperf3.pid"
    ))?;
    listens(web, 5201, "ip netns exec inner")
}

/// Ends both.
pub fn stop_inner(web: &mut Agent) -> Result<()> {
    web.must(
        "kill $(tr -d '\\0' < /run/iperf3.pid)
        nft delete table inet inner
        echo 0 > /proc/sys/net/ipv4/ip_forward
        echo 0 > /proc/sys/net/ipv6/conf/all/forwarding
        ip link del outer
        ip netns del inner",
    )?;
    Ok(())
}

/// Waits until a program listens at a port of IPv4, whichever guest this is.
fn listens(agent: &mut Agent, port: u16, within: &str) -> Result<()> {
    let began = Instant::now();
    let looks = format!("{within} ss -Hltn 'sport = :{port}' | grep -q .");
    while agent.run(&looks)?.code != Some(0) {
        ensure!(began.elapsed() < SOON, "nobody listens at {port}");
        thread::yield_now();
    }
    Ok(())
}
