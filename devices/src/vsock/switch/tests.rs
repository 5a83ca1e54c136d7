use std::os::unix::net::UnixListener;

use bartizan_local::admission::Service;
use proptest::prelude::{any, prop, proptest};

use super::super::packet::MAX_PAYLOAD;
use super::*;

const GUEST: u32 = 42;

struct Host {
    _directory: tempfile::TempDir,
    _listener: UnixListener,
    switch: Switch,
}

fn host(connections: usize) -> Host {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("service.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let service = Service {
        port: 1,
        socket: path.to_str().unwrap().into(),
    };
    let services = Services::new(&[service]).unwrap();
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
    let switch = Switch::new(GUEST, services, Limits { connections }, (epoll, 0), None).unwrap();
    Host {
        _directory: directory,
        _listener: listener,
        switch,
    }
}

fn packet(op: u16, guest_port: u32) -> Header {
    let (src_cid, dst_cid) = (GUEST.into(), HOST_CID);
    Header {
        src_cid,
        dst_cid,
        src_port: guest_port,
        dst_port: 1,
        kind: 1,
        op,
        ..Header::default()
    }
}

#[test]
fn connections_take_turns() {
    let mut host = host(8);
    for port in 0..4 {
        host.switch
            .receive(&packet(op::REQUEST, port), &[])
            .unwrap();
        host.switch
            .receive(&packet(op::CREDIT_REQUEST, port), &[])
            .unwrap();
    }
    let mut payload = Vec::new();
    let order: Vec<_> = std::iter::from_fn(|| host.switch.next_packet(100, &mut payload))
        .map(|header| (header.op, header.dst_port))
        .take(8)
        .collect();
    let responses = (0..4).map(|port| (op::RESPONSE, port));
    let credits = (0..4).map(|port| (op::CREDIT_UPDATE, port));
    assert_eq!(order, responses.chain(credits).collect::<Vec<_>>());
}

#[test]
fn too_many_resets_close_the_switch_until_they_went_out() {
    let mut host = host(1);
    let mut payload = Vec::new();
    for port in 0.. {
        if !host.switch.is_open() {
            break;
        }
        host.switch.receive(&packet(op::RW, port), &[]).unwrap();
    }
    assert_eq!(
        host.switch.next_packet(0, &mut payload).unwrap().op,
        op::RST
    );
    assert!(host.switch.is_open());
}

proptest! {
    /// A guest that knows its own CID and nothing of manners, on few ports: what comes back is
    /// well-formed and addressed to it, and the memory for resets stays bounded.
    #[test]
    fn any_sequence_is_answered_in_form(
        steps in prop::collection::vec((0..9_u16, 0..6_u32, 0..4_u32, any::<u32>(), 0..70_000_usize, any::<bool>()), 1..150),
    ) {
        let mut host = host(4);
        let mut payload = Vec::new();
        for (op, port, flags, number, len, drain) in steps {
            let len = if op == op::RW { len.min(MAX_PAYLOAD) } else { 0 };
            let header = Header {
                flags,
                len: u32::try_from(len).unwrap(),
                buf_alloc: number,
                fwd_cnt: if number % 3 == 0 { number } else { 0 },
                ..packet(op, port)
            };
            if host.switch.is_open() {
                let _ = host.switch.receive(&header, &vec![0; len]);
            }
            while drain && let Some(answer) = host.switch.next_packet(100, &mut payload) {
                assert_eq!((answer.dst_cid, answer.src_cid), (u64::from(GUEST), HOST_CID));
                assert_eq!(answer.len as usize, payload.len());
                assert!((op::RESPONSE..=op::CREDIT_REQUEST).contains(&answer.op));
            }
            assert!(host.switch.resets.len() <= MAX_RESETS + 2);
            assert!(host.switch.slots.iter().count() <= 4);
        }
    }
}
