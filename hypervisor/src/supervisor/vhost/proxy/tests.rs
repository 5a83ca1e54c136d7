use std::os::fd::{AsFd, OwnedFd};

use bartizan_local::admission::Ticket;
use bartizan_local::attachment::{Attach, Attached, DeviceKind, MAX_FRAME};
use bartizan_local::{aio, decode, recv_with_descriptors};
use bartizan_write_tracking::{FileRange, Log};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::*;
use crate::qemu::ram::RamFile;
use crate::supervisor::vhost::{Header, Ring, RingAddresses, WrittenLog};

const USER: u64 = 0x7f00_0000_0000;
const RAM: u64 = 1 << 20;

/// A devices process that says yes to everybody.
struct FakeDevices {
    listener: UnixListener,
    folder: tempfile::TempDir,
}

const TICKET: Ticket = Ticket::new([3; 32]);

/// One attachment, as the devices process sees it.
struct BackEnd {
    link: Link,
}

impl FakeDevices {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("devices.sock")).unwrap();
        Self { listener, folder }
    }

    fn devices(&self) -> Devices {
        Devices::vsock(self.folder.path().join("devices.sock"), TICKET).unwrap()
    }

    async fn accept(&self) -> BackEnd {
        self.answer(Attached::Serving).await
    }

    /// One that was admitted without a log, as [`Self::devices`] are.
    async fn answer(&self, answer: Attached) -> BackEnd {
        let (back_end, log) = self.take(answer).await;
        assert!(log.is_none());
        back_end
    }

    /// Also the log that came.
    async fn take(&self, answer: Attached) -> (BackEnd, Option<OwnedFd>) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut frame = [0; 256];
        let (size, mut descriptors) = stream
            .async_io(Interest::READABLE, || {
                recv_with_descriptors(&stream, &mut frame)
            })
            .await
            .unwrap();
        let attach: Attach = decode(&frame[4..size]).unwrap();
        let log = attach.logged.then(|| descriptors.pop().unwrap());
        assert_eq!(descriptors.len(), 1, "the journal");
        assert_eq!((attach.ticket, attach.device), (TICKET, DeviceKind::Vsock));
        aio::write_frame(&mut stream, &answer, MAX_FRAME)
            .await
            .unwrap();
        let link = Link::new(stream);
        (BackEnd { link }, log)
    }
}

impl BackEnd {
    async fn next(&mut self) -> Message {
        timeout(Duration::from_secs(5), self.link.receive())
            .await
            .unwrap()
            .unwrap()
    }

    /// Answers the next message, which must be `request`, with a number.
    async fn answers(&mut self, request: Request, number: u64) {
        assert_eq!(self.next().await.header.request, request);
        let answer = Message::answer(request, number.to_ne_bytes().to_vec());
        self.link
            .send(answer.header, &answer.payload, &[])
            .await
            .unwrap();
    }

    async fn is_told(&mut self, request: Request) -> Message {
        let message = self.next().await;
        assert_eq!(message.header.request, request);
        message
    }
}

/// QEMU's end, and the relay behind it.
struct Qemu {
    link: Link,
    ram: RamFile,
    relay: tokio::task::JoinHandle<ProxyError>,
}

impl Qemu {
    async fn attached(devices: &FakeDevices) -> (Self, BackEnd) {
        let (qemu, back_end, log) = Self::attached_with(devices, None).await;
        assert!(log.is_none());
        (qemu, back_end)
    }

    /// Where there is a log, the back end's descriptor of it, too.
    async fn attached_with(
        devices: &FakeDevices,
        log: Option<WrittenLog>,
    ) -> (Self, BackEnd, Option<OwnedFd>) {
        let ram = RamFile::create(RAM).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let wanted = devices.devices().logged(log);
        let (attachment, (back_end, log)) =
            tokio::join!(wanted.attach(), devices.take(Attached::Serving));
        let reader = ram.reopen_read_only().unwrap();
        let proxy = Proxy::new(Link::new(theirs), wanted, attachment.unwrap(), reader);
        let relay = tokio::spawn(proxy.run());
        (
            Self {
                link: Link::new(ours),
                ram,
                relay,
            },
            back_end,
            log,
        )
    }

    async fn tells(&mut self, request: Request, payload: Vec<u8>, descriptors: &[OwnedFd]) {
        self.link
            .send(Header::new(request, payload.len()), &payload, descriptors)
            .await
            .unwrap();
    }

    async fn asks(&mut self, request: Request, payload: Vec<u8>) -> Message {
        self.tells(request, payload, &[]).await;
        timeout(Duration::from_secs(5), self.link.receive())
            .await
            .unwrap()
            .unwrap()
    }

    /// Starts ring 0, whose used ring is at offset 0x2000 of RAM; returns its kick.
    async fn starts(&mut self) -> OwnedFd {
        let table = [1, 0, RAM, USER, 0].map(u64::to_ne_bytes).concat();
        let ram = self.ram.as_fd().try_clone_to_owned().unwrap();
        self.tells(Request::SetMemoryTable, table, &[ram]).await;
        let addresses = RingAddresses {
            index: 0,
            flags: 0,
            descriptors: USER,
            used: USER + 0x2000,
            available: USER + 0x1000,
            log: 0,
        };
        self.tells(Request::SetRingAddresses, addresses.bytes(), &[])
            .await;
        let kick = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        let copy = kick.try_clone().unwrap();
        self.tells(Request::SetRingKick, vec![0; 8], &[copy]).await;
        kick
    }
}

const STARTED: [Request; 3] = [
    Request::SetMemoryTable,
    Request::SetRingAddresses,
    Request::SetRingKick,
];

#[tokio::test]
async fn new_back_end_goes_on_where_the_guest_was_told_and_is_woken() {
    let devices = FakeDevices::new();
    let (mut qemu, mut first) = Qemu::attached(&devices).await;
    let kick = qemu.starts().await;
    for request in STARTED {
        first.is_told(request).await;
    }
    rustix::io::pwrite(&qemu.ram, &41u16.to_le_bytes(), 0x2002).unwrap();
    drop(first);
    let mut second = timeout(Duration::from_secs(5), devices.accept())
        .await
        .unwrap();
    assert_eq!(
        second
            .is_told(Request::SetMemoryTable)
            .await
            .descriptors
            .len(),
        1
    );
    let base = second.is_told(Request::SetRingBase).await;
    assert_eq!(
        base.ring().unwrap(),
        Ring {
            index: 0,
            number: 41
        }
    );
    second.is_told(Request::SetRingAddresses).await;
    second.is_told(Request::SetRingKick).await;
    // The first back end may have swallowed a wake-up.
    let mut count = [0; 8];
    while rustix::io::read(&kick, &mut count) != Ok(8) {
        tokio::task::yield_now().await;
    }
}

/// New devices know a guest once the daemon has admitted it again, however long that takes.
#[tokio::test]
async fn relay_goes_on_trying_while_its_ticket_is_unknown() {
    let devices = FakeDevices::new();
    let (mut qemu, first) = Qemu::attached(&devices).await;
    drop(first);
    for _ in 0..3 {
        devices.answer(Attached::UnknownTicket).await;
    }
    let next = async {
        devices
            .accept()
            .await
            .answers(Request::GetFeatures, 9)
            .await
    };
    let (answer, ()) = tokio::join!(qemu.asks(Request::GetFeatures, vec![]), next);
    assert_eq!(answer.number().unwrap(), 9);
}

#[tokio::test]
async fn qemu_stops_and_starts_its_rings_while_nobody_serves() {
    let devices = FakeDevices::new();
    let (mut qemu, mut first) = Qemu::attached(&devices).await;
    qemu.starts().await;
    for request in STARTED {
        first.is_told(request).await;
    }
    rustix::io::pwrite(&qemu.ram, &7u16.to_le_bytes(), 0x2002).unwrap();
    drop(first);
    let socket = devices.folder.path().join("devices.sock");
    std::fs::rename(&socket, socket.with_extension("away")).unwrap();
    let answer = qemu
        .asks(
            Request::GetRingBase,
            Ring {
                index: 0,
                number: 0,
            }
            .bytes(),
        )
        .await;
    assert_eq!(
        answer.ring().unwrap(),
        Ring {
            index: 0,
            number: 7
        }
    );
}

#[tokio::test]
async fn question_that_a_dead_back_end_did_not_answer_goes_to_the_next() {
    let devices = FakeDevices::new();
    let (mut qemu, mut first) = Qemu::attached(&devices).await;
    let next = async {
        first.is_told(Request::GetFeatures).await;
        drop(first);
        devices
            .accept()
            .await
            .answers(Request::GetFeatures, 0x1234)
            .await;
    };
    let (answer, ()) = tokio::join!(qemu.asks(Request::GetFeatures, vec![]), next);
    assert_eq!(answer.number().unwrap(), 0x1234);
}

#[tokio::test]
async fn only_known_protocol_features_pass() {
    let devices = FakeDevices::new();
    let (mut qemu, mut back_end) = Qemu::attached(&devices).await;
    let (answer, ()) = tokio::join!(
        qemu.asks(Request::GetProtocolFeatures, vec![]),
        back_end.answers(Request::GetProtocolFeatures, u64::MAX),
    );
    assert_eq!(answer.number().unwrap(), PROTOCOL_FEATURES);
}

#[tokio::test]
async fn answer_to_another_question_costs_the_back_end_its_place() {
    let devices = FakeDevices::new();
    let (mut qemu, mut first) = Qemu::attached(&devices).await;
    let next = async {
        first.is_told(Request::GetFeatures).await;
        let wrong = Message::answer(Request::GetQueueNumber, vec![0; 8]);
        first
            .link
            .send(wrong.header, &wrong.payload, &[])
            .await
            .unwrap();
        drop(first);
        devices
            .accept()
            .await
            .answers(Request::GetFeatures, 5)
            .await;
    };
    let (answer, ()) = tokio::join!(qemu.asks(Request::GetFeatures, vec![]), next);
    assert_eq!(answer.number().unwrap(), 5);
}

#[tokio::test]
async fn foreign_memory_ends_the_relay_unseen_by_the_back_end() {
    let devices = FakeDevices::new();
    let (mut qemu, mut back_end) = Qemu::attached(&devices).await;
    let table = [1, 0, 4096, USER, 0].map(u64::to_ne_bytes).concat();
    let other = RamFile::create(4096)
        .unwrap()
        .as_fd()
        .try_clone_to_owned()
        .unwrap();
    qemu.tells(Request::SetMemoryTable, table, &[other]).await;
    let error = timeout(Duration::from_secs(5), qemu.relay)
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(error, ProxyError::Record(_)), "{error}");
    assert!(matches!(
        back_end.link.receive().await,
        Err(LinkError::Closed)
    ));
}

/// What who measures finds noted: how many pages.
fn taken(log: &Log) -> u64 {
    let mut pages = 0;
    let all = FileRange::new(0, RAM).unwrap();
    log.take(all, |noted| pages += noted.pages());
    pages
}

/// The answer to QEMU's taking back of ring 0.
async fn stops(qemu: &mut Qemu) -> Message {
    let ring = Ring {
        index: 0,
        number: 0,
    };
    qemu.asks(Request::GetRingBase, ring.bytes()).await
}

/// Known attack: devices are killed between a write and its note, and what they wrote is in no snapshot.
#[tokio::test]
async fn all_is_noted_before_qemu_stops_without_its_back_end_and_the_next_one_has_the_same_log() {
    let devices = FakeDevices::new();
    let log = WrittenLog::create(RAM).unwrap();
    let (mut qemu, mut first, theirs) =
        Qemu::attached_with(&devices, Some(log.clone())).await;
    let measures = Log::map(log.file(), RAM).unwrap();
    qemu.starts().await;
    for request in STARTED {
        first.is_told(request).await;
    }
    Log::map(theirs.unwrap(), RAM).unwrap().note(0x2000, 4);
    assert_eq!(taken(&measures), 1);
    let socket = devices.folder.path().join("devices.sock");
    let away = socket.with_extension("away");
    std::fs::rename(&socket, &away).unwrap();
    drop(first);
    stops(&mut qemu).await;
    assert_eq!(taken(&measures), RAM / 4096);
    std::fs::rename(&away, &socket).unwrap();
    let next = timeout(Duration::from_secs(5), devices.take(Attached::Serving));
    let (mut second, theirs) = next.await.unwrap();
    // Once more before the next one is told anything.
    second.is_told(Request::SetMemoryTable).await;
    assert_eq!(taken(&measures), RAM / 4096);
    Log::map(theirs.unwrap(), RAM).unwrap().note(0x2000, 4);
    assert_eq!(taken(&measures), 1);
}

/// Known attack: devices dismiss a guest's device, or are slow, and it writes to the RAM of a guest that stands still.
#[tokio::test]
async fn qemu_has_no_ring_back_before_a_back_end_that_was_left_has_ended() {
    let devices = FakeDevices::new();
    let log = WrittenLog::create(RAM).unwrap();
    let (mut qemu, mut first, theirs) = Qemu::attached_with(&devices, Some(log)).await;
    let theirs = Log::map(theirs.unwrap(), RAM).unwrap();
    qemu.starts().await;
    for request in STARTED {
        first.is_told(request).await;
    }
    let socket = devices.folder.path().join("devices.sock");
    std::fs::rename(&socket, socket.with_extension("away")).unwrap();
    let ram = qemu.ram.as_fd().try_clone_to_owned().unwrap();
    let goes_on = async {
        first.is_told(Request::GetRingBase).await;
        let wrong = Message::answer(Request::GetQueueNumber, vec![0; 8]);
        first
            .link
            .send(wrong.header, &wrong.payload, &[])
            .await
            .unwrap();
        // It is told to end, and still writes.
        assert!(first.link.receive().await.is_err());
        rustix::io::pwrite(&ram, &7u16.to_le_bytes(), 0x2002).unwrap();
        drop(first);
    };
    let (answer, ()) = tokio::join!(stops(&mut qemu), goes_on);
    assert_eq!(answer.ring().unwrap().number, 7);
    assert_eq!(taken(&theirs), RAM / 4096);
}
