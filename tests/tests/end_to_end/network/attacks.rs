//! Known attacks from inside a guest, by whoever is root there: each is refused and logged by its reason, and reaches nobody.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bartizan_tests::agent::{Agent, HAND};
use bartizan_tests::network::frames::{Way, icmp, tcp, udp};
use bartizan_tests::network::{SOON, pages_only};
use serde_json::json;

use super::Networked;
use crate::world::World;

/// What is refused, why, and the frames of it.
struct Attack {
    name: &'static str,
    reason: &'static str,
    frames: Vec<Vec<u8>>,
}

/// Where the server's frames are written.
const SEEN: &str = "/tmp/frames";
/// How often a frame is sent: of a reason the log tells the first time, and each time that it was twice as often.
const TIMES: usize = 64;

/// Where any flow is allowed, and some more where few are.
pub(super) fn all(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&json!([{ "name": "all", "effect": "allow", "network": {} }]))?;
    let way = Way::to_web(&mut networked.client.agent, &mut networked.web.agent)?;
    networked.web.agent.must(&format!(
        "rm -f {SEEN}; {HAND} listen {SEEN} > /dev/null 2>&1 & echo $! > {SEEN}.pid
        until [ -e {SEEN} ]; do :; done"
    ))?;
    let came = each(&mut networked, &way);
    networked
        .web
        .agent
        .must(&format!("kill $(cat {SEEN}.pid); rm {SEEN}"))?;
    came
}

fn each(networked: &mut Networked<'_>, way: &Way) -> Result<()> {
    let any = whatever_the_policy(way);
    for attack in &any {
        refused(networked, attack)?;
    }
    passes(networked, &way.udp((4000, 4000), b"as it should be"))?;
    networked.apply(&pages_only())?;
    let few = by_policy(way);
    for attack in &few {
        refused(networked, attack)?;
    }
    // Whatever of these was on its way is there before this.
    networked.apply(&json!([{ "name": "all", "effect": "allow", "network": {} }]))?;
    passes(networked, &way.udp((4000, 4000), b"at the end"))?;
    let seen = seen(&mut networked.web.agent)?;
    for Attack { name, frames, .. } in any.iter().chain(&few) {
        for frame in frames {
            ensure!(!has_come(&seen, frame), "{name} has come");
        }
    }
    Ok(())
}

fn refused(networked: &mut Networked<'_>, attack: &Attack) -> Result<()> {
    let Attack {
        name,
        reason,
        frames,
    } = attack;
    let word = format!("reason={reason}");
    for frame in frames {
        let told = |networked: &Networked<'_>| -> Result<usize> {
            let log = fs::read_to_string(networked.stack.host.devices.log())?;
            let lines = log.lines();
            let refused = lines.filter(|line| line.contains("a packet is refused"));
            let of_it = refused.filter(|line| line.split_whitespace().any(|field| field == word));
            Ok(of_it.count())
        };
        let before = told(networked)?;
        let began = Instant::now();
        while told(networked)? == before {
            ensure!(
                began.elapsed() < SOON,
                "{name}: no word of `{reason}` for {}",
                hex::encode(frame)
            );
            send(&mut networked.client.agent, &vec![frame.clone(); TIMES])?;
        }
    }
    Ok(())
}

fn passes(networked: &mut Networked<'_>, frame: &[u8]) -> Result<()> {
    let began = Instant::now();
    send(&mut networked.client.agent, &[frame.to_vec()])?;
    while !has_come(&seen(&mut networked.web.agent)?, frame) {
        ensure!(began.elapsed() < SOON, "a good frame does not come");
    }
    Ok(())
}

fn send(client: &mut Agent, frames: &[Vec<u8>]) -> Result<()> {
    let lines: Vec<_> = frames.iter().map(hex::encode).collect();
    let sent = client.run_with_input(&format!("{HAND} send"), &lines.join("\n"))?;
    ensure!(sent.code == Some(0), "{sent:?}");
    Ok(())
}

fn seen(web: &mut Agent) -> Result<String> {
    web.must(&format!("cat {SEEN}"))
        .context("what the server has seen")
}

/// Whether a frame is one of those seen, whichever stations it says.
fn has_come(seen: &str, frame: &[u8]) -> bool {
    let behind_macs = hex::encode(frame.get(12..).unwrap_or_default());
    seen.lines()
        .any(|line| line.get(24..) == Some(&behind_macs))
}

/// What no policy lets by.
fn whatever_the_policy(way: &Way) -> Vec<Attack> {
    let attack = |name, reason, frames| Attack {
        name,
        reason,
        frames,
    };
    let other = Way {
        from: [2, 0, 0, 0, 0, 0x99],
        ..*way
    };
    let as_web = Way {
        v4: (way.v4.1, way.v4.1),
        v6: (way.v6.1, way.v6.1),
        ..*way
    };
    let datagram = udp((4001, 4001), b"forged");
    let segment = tcp((4001, 80), 2, b"");
    vec![
        attack(
            "another's MAC",
            "spoofed-mac",
            vec![other.ipv4(17, &datagram)],
        ),
        attack(
            "another's address",
            "spoofed-address",
            vec![as_web.ipv4(17, &datagram), as_web.ipv6(17, &datagram)],
        ),
        attack("another's by ARP", "spoofed-arp", arp(way)),
        attack(
            "another's by neighbour discovery",
            "spoofed-neighbour",
            vec![way.icmpv6(&advertised(136, way))],
        ),
        attack(
            "a router",
            "spoofed-router",
            vec![
                way.icmpv6(&[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
                way.ipv4(1, &icmp(5, 1, way.v4.0.octets(), &[0; 28])),
            ],
        ),
        attack(
            "a DHCP server",
            "spoofed-dhcp",
            vec![way.udp((67, 68), &[2; 244])],
        ),
        attack("fragments", "fragment", fragments(way, &segment)),
        attack(
            "a chain of extension headers",
            "extension-chain",
            vec![extensions(way, &[60; 8], &segment)],
        ),
        attack(
            "extension headers that nobody judges",
            "extension-header",
            vec![
                extensions(way, &[43], &segment),
                extensions(way, &[60, 0], &segment),
            ],
        ),
        attack(
            "options of IPv4",
            "ip-options",
            // A loose source route (RFC 791 section 3.1), and one of no meaning.
            vec![
                way.ipv4_with(6, 0, &[131, 7, 4, 10, 77, 0, 9, 0], &segment),
                way.ipv4_with(6, 0, &[1; 4], &segment),
            ],
        ),
        attack(
            "flags of TCP that mean nothing",
            "tcp-flags",
            [0, 1, 3, 6, 0x29]
                .map(|flags| way.tcp((4002, 80), flags, b"forged"))
                .into(),
        ),
        attack(
            "TCP without a handshake",
            "tcp-handshake",
            vec![
                way.tcp((4003, 80), 0x10, b"forged"),
                way.tcp((4003, 80), 0x18, b"forged"),
                way.tcp((80, 4003), 0x12, b""),
            ],
        ),
        attack(
            "answers that nobody asked for",
            "no-flow",
            vec![way.ipv4(1, &icmp(0, 0, [0x77, 0, 0, 1], b"a tunnel"))],
        ),
        attack(
            "VLAN tags",
            "vlan-tag",
            vec![tagged(&[0x8100], way), tagged(&[0x88a8, 0x8100], way)],
        ),
        attack("frames that end too early", "truncated", {
            let whole = way.udp((4004, 4004), &[7; 100]);
            [15, 33, 40, 100].map(|size| whole[..size].to_vec()).into()
        }),
        attack("bytes behind a packet", "trailer", {
            let hidden = [way.udp((4005, 4005), &[7; 100]), b"hidden".to_vec()];
            vec![hidden.concat()]
        }),
        attack(
            "another protocol",
            "ether-type",
            vec![way.frame(0x88cc, &[7; 60])],
        ),
        attack(
            "a header that contradicts itself",
            "transport-header",
            vec![way.ipv4(6, &{
                let mut segment = tcp((4006, 80), 2, b"");
                segment[12] = 0xf0;
                segment
            })],
        ),
        attack(
            "all stations",
            "nobody",
            vec![
                Way {
                    to: [0xff; 6],
                    ..*way
                }
                .udp((4007, 4007), b"all"),
            ],
        ),
    ]
}

/// What a policy for pages lets by no longer.
fn by_policy(way: &Way) -> Vec<Attack> {
    let attack = |name, frames| Attack {
        name,
        reason: "denied",
        frames,
    };
    vec![
        attack(
            "a tunnel by echoes",
            vec![way.ipv4(1, &icmp(8, 0, [0x78, 0, 0, 1], &[0x55; 1000]))],
        ),
        attack("another port", vec![way.tcp((4008, 22), 2, b"")]),
        attack("another protocol", vec![way.udp((4008, 80), b"forged")]),
        attack("a tunnel", vec![way.ipv4(47, &[0, 0, 8, 0, 1, 2, 3, 4])]),
        attack(
            "the same over IPv6",
            vec![way.ipv6(17, &udp((4008, 80), b"forged"))],
        ),
    ]
}

/// That the server's address is at the client's station: said to all, as an answer, and of itself at a station that there is not.
fn arp(way: &Way) -> Vec<Vec<u8>> {
    let told = |operation: u8, station: [u8; 6], sender: [u8; 4], target: [u8; 4]| {
        let head = [0, 1, 8, 0, 6, 4, 0, operation];
        let body = [
            head.as_slice(),
            &station,
            &sender,
            &way.to,
            &target,
            &[0; 18],
        ];
        way.frame(0x0806, &body.concat())
    };
    let (client, web) = (way.v4.0.octets(), way.v4.1.octets());
    vec![
        told(1, way.from, web, web),
        told(2, way.from, web, client),
        told(2, [2, 0, 0, 0, 0, 0x99], client, web),
    ]
}

/// An advertisement (RFC 4861 section 4.4) of the server's address at the client's station.
fn advertised(kind: u8, way: &Way) -> Vec<u8> {
    let (head, option) = ([kind, 0, 0, 0, 0x20, 0, 0, 0], [2, 1]);
    let target = way.v6.1.octets();
    [head.as_slice(), &target, &option, &way.from].concat()
}

/// A first one too small for its ports, one that overlaps it, a last one; the header of IPv6.
fn fragments(way: &Way, segment: &[u8]) -> Vec<Vec<u8>> {
    const MORE: u16 = 0x2000;
    let of_v6 = [[6, 0, 0, 1, 0, 0, 0, 7].as_slice(), segment].concat();
    vec![
        way.ipv4_with(6, MORE, &[], &segment[..8]),
        way.ipv4_with(6, MORE | 1, &[], segment),
        way.ipv4_with(6, 1, &[], segment),
        way.ipv4_with(17, 0x1fff, &[], &[7; 64]),
        way.ipv6(44, &of_v6),
    ]
}

/// A segment behind these extension headers, each empty.
fn extensions(way: &Way, kinds: &[u8], segment: &[u8]) -> Vec<u8> {
    let following = kinds.iter().skip(1).chain([&6]);
    let headers = following.flat_map(|next| [*next, 0, 1, 4, 0, 0, 0, 0]);
    let body: Vec<u8> = headers.chain(segment.iter().copied()).collect();
    way.ipv6(kinds.first().copied().unwrap_or(6), &body)
}

fn tagged(tags: &[u16], way: &Way) -> Vec<u8> {
    let inner = way.udp((4009, 4009), b"hidden");
    let tags = tags.iter().flat_map(|tag| [*tag, 7]);
    let tags: Vec<u8> = tags.flat_map(u16::to_be_bytes).collect();
    [&inner[..12], &tags, &inner[12..]].concat()
}
