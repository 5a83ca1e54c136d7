//! Rings and packets of a guest, messages of QEMU's.

use bartizan_devices::vsock::{HOST_CID, Header};
use bartizan_fuzz::pieces;
use bartizan_fuzz::vsock::{GUEST, PARTS, RAM, TX};
use bartizan_hypervisor::supervisor::vhost::{
    Header as MessageHeader, Request, Ring, RingAddresses,
};

use crate::Seed;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Where packets lie in RAM, behind the rings.
const DATA: u64 = 0x400;

pub(crate) fn seeds() -> Vec<Seed> {
    let request = packet(1, 0).to_bytes();
    let header = [GUEST.to_le_bytes().as_slice(), &request].concat();
    vec![
        ("vsock_header", "request", header),
        ("vsock_chain", "one-piece", chain(&[(DATA, 54, 0, 0)])),
        (
            "vsock_chain",
            "two-pieces",
            chain(&[(DATA, 44, NEXT, 1), (DATA + 44, 10, 0, 0)]),
        ),
        (
            "vsock_chain",
            "writable",
            chain(&[(DATA, 60, NEXT | WRITE, 1), (DATA + 60, 9, WRITE, 0)]),
        ),
        (
            "vsock_chain",
            "indirect",
            chain(&[(0x180, 32, INDIRECT, 0)]),
        ),
        ("net_frame", "datagram", [vec![0; 12], datagram()].concat()),
        (
            "net_frame",
            "extensions",
            [vec![0; 12], extensions()].concat(),
        ),
        ("net_chain", "datagram", frame_chain()),
        ("net_dhcp", "discover", discover()),
        ("net_dns", "chain", names()),
        ("net_uplink", "from-outside", from_outside()),
        ("vsock_exchange", "request", exchange()),
        ("vsock_switch", "connection", switch()),
        ("vhost_message", "session", session(1 << 20)),
        ("vhost_backend", "session", session(RAM as u64)),
    ]
}

fn packet(op: u16, len: u32) -> Header {
    Header {
        src_cid: GUEST.into(),
        dst_cid: HOST_CID,
        src_port: 1000,
        dst_port: 1,
        len,
        kind: 1,
        op,
        buf_alloc: 4096,
        ..Header::default()
    }
}

/// A query for the IPv4 address of `db.test`, and that it is `a.db.test`, with that one's address.
fn names() -> Vec<u8> {
    let question = b"\x02db\x04test\0\0\x01\0\x01";
    let query = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &question[..]].concat();
    let records: [&[u8]; 3] = [
        &[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4],
        &[1, b'a', 0xc0, 12],
        &[0xc0, 37, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 7],
    ];
    let header: [u8; 12] = [0, 7, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0];
    let size = u8::try_from(query.len()).unwrap();
    let answer = [&header, &question[..], &records.concat()].concat();
    [&[size], query.as_slice(), &answer].concat()
}

/// A descriptor: address, length, flags, next.
type Descriptor = (u64, u32, u16, u16);

fn put(ram: &mut [u8], at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap();
    ram[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A ring with these chains available, each of which starts at the descriptor of its number.
fn ring(ram: &mut [u8], start: u64, table: &[Descriptor], heads: &[u16]) {
    for (at, (address, length, flags, next)) in (start..).step_by(16).zip(table) {
        put(ram, at, &address.to_le_bytes());
        put(ram, at + 8, &length.to_le_bytes());
        put(
            ram,
            at + 12,
            &[flags.to_le_bytes(), next.to_le_bytes()].concat(),
        );
    }
    let available = start + PARTS[1];
    put(
        ram,
        available + 2,
        &u16::try_from(heads.len()).unwrap().to_le_bytes(),
    );
    for (at, head) in (available + 4..).step_by(2).zip(heads) {
        put(ram, at, &head.to_le_bytes());
    }
}

fn chain(table: &[Descriptor]) -> Vec<u8> {
    let mut ram = vec![0; 0x500];
    ring(&mut ram, 0, table, &[0]);
    // For the indirect one: a table of one descriptor.
    put(&mut ram, 0x180, &DATA.to_le_bytes());
    put(&mut ram, 0x188, &54_u32.to_le_bytes());
    put(&mut ram, DATA, &packet(5, 10).to_bytes());
    ram
}

/// An empty datagram over IPv4.
fn datagram() -> Vec<u8> {
    [
        [2, 0, 0, 0, 7, 2, 2, 0, 0, 0, 7, 1, 8, 0].as_slice(),
        &[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0x35],
        &[10, 77, 0, 1, 10, 77, 0, 2],
        &[3, 232, 0, 53, 0, 8, 0, 0],
    ]
    .concat()
}

/// A datagram over IPv6, behind hop-by-hop options (a router alert) and destination options (padding).
fn extensions() -> Vec<u8> {
    [
        [2, 0, 0, 0, 7, 2, 2, 0, 0, 0, 7, 1, 0x86, 0xdd].as_slice(),
        &[0x60, 0, 0, 0, 0, 24, 0, 64],
        &[0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        &[60, 0, 5, 2, 0, 0, 1, 0],
        &[17, 0, 1, 4, 0, 0, 0, 0],
        &[3, 232, 0, 53, 0, 8, 0, 0],
    ]
    .concat()
}

fn frame_chain() -> Vec<u8> {
    let mut ram = vec![0; 0x500];
    ring(
        &mut ram,
        0,
        &[(DATA, 12, NEXT, 1), (DATA + 12, 42, 0, 0)],
        &[0],
    );
    put(&mut ram, DATA + 12, &datagram());
    ram
}

/// From outside to the station 02:00:00:00:07:01: who has its address, and an empty datagram.
fn from_outside() -> Vec<u8> {
    let own = [2, 0, 0, 0, 0x99, 200];
    let question = [
        [0; 12].as_slice(),
        &[0xff; 6],
        &own,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &own,
        &[10, 77, 0, 200],
        &[0; 6],
        &[10, 77, 0, 1],
    ];
    let datagram = [
        [0; 12].as_slice(),
        &[2, 0, 0, 0, 7, 1],
        &own,
        &[8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x65, 0x6f],
        &[10, 77, 0, 200, 10, 77, 0, 1],
        &[3, 232, 0, 53, 0, 8, 0, 0],
    ];
    pieces::join(&[question.concat(), datagram.concat()])
}

/// Of the station 02:00:00:00:07:01.
fn discover() -> Vec<u8> {
    let mut message = vec![0; 236];
    put(&mut message, 0, &[1, 1, 6, 0, 1, 2, 3, 4]);
    put(&mut message, 28, &[2, 0, 0, 0, 7, 1]);
    message.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    message
}

/// Two packets of the guest, and room for the answers.
fn exchange() -> Vec<u8> {
    let mut ram = vec![0; 0x600];
    ring(
        &mut ram,
        0,
        &[(DATA + 0x100, 64, WRITE, 0), (DATA + 0x140, 64, WRITE, 0)],
        &[0, 1],
    );
    ring(
        &mut ram,
        TX,
        &[(DATA, 44, 0, 0), (DATA + 64, 54, 0, 0)],
        &[0, 1],
    );
    put(&mut ram, DATA, &packet(1, 0).to_bytes());
    put(&mut ram, DATA + 64, &packet(5, 10).to_bytes());
    ram
}

/// A connection left over by a former process; one that is opened, used both ways, and closed.
fn switch() -> Vec<u8> {
    let mut journal = vec![0; 48];
    journal[..12].copy_from_slice(&[1, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0]);
    // Action, port or stream, flags, buffer size, length.
    let steps: [[u8; 9]; 6] = [
        [1 + 9 * 4, 0, 0, 0, 16, 0, 0, 0, 0],
        [5, 0, 0, 0, 16, 0, 0, 100, 0],
        [0xc0, 0x80, 0, 0, 0, 0, 0, 200, 0],
        [0xc0, 0, 0, 0, 0, 0, 0, 50, 0],
        [0xe0, 0, 0, 0, 0, 0, 0, 64, 0],
        [4, 0, 3, 0, 16, 0, 0, 0, 0],
    ];
    [journal, steps.concat()].concat()
}

/// What QEMU sets when a guest's driver starts: so much RAM, and one ring, at base 3.
fn session(size: u64) -> Vec<u8> {
    const USER: u64 = 0x7f00_0000_0000;
    let table = [1, 0, size, USER, 0].map(u64::to_ne_bytes).concat();
    let number = |value: u64| value.to_ne_bytes().to_vec();
    let ring = |number| Ring { index: 1, number }.bytes();
    let addresses = RingAddresses {
        index: 1,
        flags: 0,
        descriptors: USER,
        used: USER + 8,
        available: USER + 16,
        log: 0,
    };
    let messages = [
        (Request::SetOwner, Vec::new()),
        (Request::SetFeatures, number(1 << 32)),
        (Request::SetProtocolFeatures, number(1 << 3)),
        (Request::SetMemoryTable, table),
        (Request::SetRingSize, ring(128)),
        (Request::SetRingBase, ring(3)),
        (Request::SetRingAddresses, addresses.bytes()),
        (Request::SetRingKick, number(1)),
        (Request::SetRingCall, number(1)),
        (Request::SetRingEnable, ring(1)),
        (Request::GetRingBase, ring(0)),
    ];
    let messages = messages.map(|(request, payload)| {
        let head = MessageHeader::new(request, payload.len()).bytes();
        let has_descriptor = matches!(
            request,
            Request::SetMemoryTable | Request::SetRingKick | Request::SetRingCall
        );
        [&[u8::from(has_descriptor)], head.as_slice(), &payload].concat()
    });
    pieces::join(&messages)
}
