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
struct Link(UnixStream);

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
    async fn accept(listener: &UnixListener) -> Self {
        Self(in_time(listener.accept()).await.unwrap().0)
    }

    async fn is_asked(&mut self) -> AdmissionRequest {
        in_time(aio::read_frame(&mut self.0, MAX_FRAME))
            .await
            .unwrap()
    }

    async fn answers(&mut self, reply: AdmissionReply) {
        aio::write_frame(&mut self.0, &reply, MAX_FRAME)
            .await
            .unwrap();
    }

    async fn agrees_to(&mut self, request: AdmissionRequest) {
        assert_eq!(self.is_asked().await, request);
        self.answers(AdmissionReply::Done).await;
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
    }
}

fn admit(byte: u8) -> AdmissionRequest {
    AdmissionRequest::Admit(admission(byte))
}

fn retain(bytes: &[u8]) -> AdmissionRequest {
    let tickets = bytes.iter().map(|byte| Ticket::new([*byte; 32]));
    AdmissionRequest::Retain(tickets.collect())
}

#[tokio::test]
async fn a_start_waits_for_devices_and_for_their_word() {
    let devices = FakeDevices::new();
    let waits = devices.admit(3);
    let listener = devices.start();
    let mut link = Link::accept(&listener).await;
    // Devices may be reached before they are asked, or after.
    let mut request = link.is_asked().await;
    if request == retain(&[]) {
        link.answers(AdmissionReply::Done).await;
        request = link.is_asked().await;
    }
    assert_eq!(request, admit(3));
    assert!(!waits.is_finished());
    link.answers(AdmissionReply::Done).await;
    in_time(waits).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_devices_refuse_is_refused() {
    let devices = FakeDevices::new();
    let listener = devices.start();
    let mut link = Link::accept(&listener).await;
    link.agrees_to(retain(&[])).await;
    let waits = devices.admit(3);
    assert_eq!(link.is_asked().await, admit(3));
    link.answers(AdmissionReply::Refused("full".into())).await;
    let refused = in_time(waits).await.unwrap();
    assert!(matches!(refused, Err(AdmissionError::Refused(why)) if why == "full"));
    // The link goes on.
    devices.admissions.dismiss(vm(3));
    link.agrees_to(retain(&[])).await;
}

#[tokio::test]
async fn devices_that_were_killed_are_told_all_again_and_nothing_that_has_ended() {
    let devices = FakeDevices::new();
    let listener = devices.start();
    let mut link = Link::accept(&listener).await;
    link.agrees_to(retain(&[])).await;
    for byte in [3, 4] {
        devices.admissions.admit_again(vm(byte), admission(byte));
        link.agrees_to(admit(byte)).await;
    }
    // Killed before they answer.
    let waits = devices.admit(5);
    assert_eq!(link.is_asked().await, admit(5));
    drop((link, listener));
    devices.admissions.dismiss(vm(4));
    let listener = devices.start();
    let mut link = Link::accept(&listener).await;
    link.agrees_to(admit(3)).await;
    assert!(!waits.is_finished());
    link.agrees_to(admit(5)).await;
    link.agrees_to(retain(&[3, 5])).await;
    in_time(waits).await.unwrap().unwrap();
}

/// Devices of before, that live while the daemon's link does not: what they have must go where it has ended meanwhile.
#[tokio::test]
async fn dismissed_devices_end() {
    let devices = FakeDevices::new();
    let listener = devices.start();
    let mut link = Link::accept(&listener).await;
    link.agrees_to(retain(&[])).await;
    for byte in [3, 4] {
        devices.admissions.admit_again(vm(byte), admission(byte));
        link.agrees_to(admit(byte)).await;
    }
    devices.admissions.dismiss(vm(3));
    link.agrees_to(retain(&[4])).await;
}

#[test]
fn no_two_boots_have_one_ticket() {
    assert_ne!(ticket().unwrap(), ticket().unwrap());
}
