use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Devices that are there, or not.
struct FakeDevices {
    folder: tempfile::TempDir,
    admissions: Admissions,
    keeping: JoinHandle<()>,
}

/// The daemon's link, as devices see it.
struct Link {
    listener: UnixListener,
    stream: UnixStream,
    /// Whether devices may be told what they were told before: the daemon gives a link up that a stalled test left unanswered.
    repeats: bool,
}

impl FakeDevices {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (admissions, keeper) = Admissions::new(folder.path().join("devices.sock"));
        Self {
            folder,
            admissions,
            keeping: tokio::spawn(keeper.run()),
        }
    }

    fn start(&self) -> UnixListener {
        let socket = self.folder.path().join("devices.sock");
        std::fs::remove_file(&socket).ok();
        UnixListener::bind(socket).unwrap()
    }

    /// Waits for the answer in another task.
    fn admit(&self, byte: u8) -> JoinHandle<Result<(), AdmissionError>> {
        let admissions = self.admissions.clone();
        tokio::spawn(async move { admissions.admit(vm(byte), admission(byte)).await })
    }
}

impl Drop for FakeDevices {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl Link {
    async fn accept(listener: UnixListener) -> Self {
        let (stream, _) = in_time(listener.accept()).await.unwrap();
        Self {
            listener,
            stream,
            repeats: false,
        }
    }

    /// Waits for this request, without an answer.
    async fn is_asked(&mut self, expected: &AdmissionRequest) {
        loop {
            let read = in_time(aio::read_frame(&mut self.stream, MAX_FRAME)).await;
            let Ok(request) = read else {
                self.stream = in_time(self.listener.accept()).await.unwrap().0;
                self.repeats = true;
                continue;
            };
            if *expected == request {
                return;
            }
            assert!(self.repeats, "{request:?} in the place of {expected:?}");
            self.answers(AdmissionReply::Done).await;
        }
    }

    /// Whether the link was still there.
    async fn answers(&mut self, reply: AdmissionReply) -> bool {
        let written = aio::write_frame(&mut self.stream, &reply, MAX_FRAME).await;
        written.is_ok()
    }

    async fn answers_to(&mut self, request: AdmissionRequest, reply: AdmissionReply) {
        self.is_asked(&request).await;
        while !self.answers(reply.clone()).await {
            self.is_asked(&request).await;
        }
    }

    async fn agrees_to(&mut self, request: AdmissionRequest) {
        self.answers_to(request, AdmissionReply::Done).await;
    }
}

async fn in_time<T>(asked: impl Future<Output = T>) -> T {
    timeout(PATIENCE, asked).await.unwrap()
}

fn vm(byte: u8) -> Uuid {
    Uuid::from_bytes([byte; 16])
}

fn admission(byte: u8) -> Admission {
    Admission {
        ticket: Ticket::new([byte; 32]),
        cid: byte.into(),
        services: Vec::new(),
        network: None,
        runs: false,
    }
}

fn admit(byte: u8) -> AdmissionRequest {
    AdmissionRequest::Admit(admission(byte))
}

/// Of a guest that devices, or former ones, were told of before.
fn admit_running(byte: u8) -> AdmissionRequest {
    AdmissionRequest::Admit(Admission {
        runs: true,
        ..admission(byte)
    })
}

fn retain(bytes: &[u8]) -> AdmissionRequest {
    let tickets = bytes.iter().map(|byte| Ticket::new([*byte; 32]));
    AdmissionRequest::Retain(tickets.collect())
}

#[tokio::test]
async fn a_start_waits_for_devices_and_for_their_word() {
    let devices = FakeDevices::new();
    let waits = devices.admit(3);
    let mut link = Link::accept(devices.start()).await;
    // Devices may be reached before they are asked, or after.
    link.repeats = true;
    link.is_asked(&admit(3)).await;
    assert!(!waits.is_finished());
    if !link.answers(AdmissionReply::Done).await {
        link.agrees_to(admit(3)).await;
    }
    in_time(waits).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_devices_refuse_is_refused() {
    let devices = FakeDevices::new();
    let mut link = Link::accept(devices.start()).await;
    link.agrees_to(retain(&[])).await;
    let waits = devices.admit(3);
    let full = AdmissionReply::Refused("full".into());
    link.answers_to(admit(3), full).await;
    let refused = in_time(waits).await.unwrap();
    assert!(matches!(refused, Err(AdmissionError::Refused(why)) if why == "full"));
    // The link goes on.
    devices.admissions.dismiss(vm(3));
    link.agrees_to(retain(&[])).await;
}

#[tokio::test]
async fn devices_that_were_killed_are_told_all_again_and_nothing_that_has_ended() {
    let devices = FakeDevices::new();
    let mut link = Link::accept(devices.start()).await;
    link.agrees_to(retain(&[])).await;
    for byte in [3, 4] {
        devices.admissions.admit_again(vm(byte), admission(byte));
        link.agrees_to(admit_running(byte)).await;
    }
    // Killed before they answer.
    let waits = devices.admit(5);
    link.is_asked(&admit(5)).await;
    drop(link);
    devices.admissions.dismiss(vm(4));
    let mut link = Link::accept(devices.start()).await;
    link.agrees_to(admit_running(3)).await;
    assert!(!waits.is_finished());
    // Nothing of it can have begun before.
    link.agrees_to(admit(5)).await;
    link.agrees_to(retain(&[3, 5])).await;
    in_time(waits).await.unwrap().unwrap();
    drop(link);
    let mut link = Link::accept(devices.start()).await;
    link.agrees_to(admit_running(3)).await;
    link.agrees_to(admit_running(5)).await;
    link.agrees_to(retain(&[3, 5])).await;
}

/// Devices of before, that live while the daemon's link does not: what they have must go where it has ended meanwhile.
#[tokio::test]
async fn dismissed_devices_end() {
    let devices = FakeDevices::new();
    let mut link = Link::accept(devices.start()).await;
    link.agrees_to(retain(&[])).await;
    for byte in [3, 4] {
        devices.admissions.admit_again(vm(byte), admission(byte));
        link.agrees_to(admit_running(byte)).await;
    }
    devices.admissions.dismiss(vm(3));
    link.agrees_to(retain(&[4])).await;
}

#[test]
fn no_two_boots_have_one_ticket() {
    assert_ne!(ticket().unwrap(), ticket().unwrap());
}
