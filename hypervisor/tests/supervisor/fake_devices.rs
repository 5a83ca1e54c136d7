//! A devices process that takes every attachment of what was admitted and moves no packet.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bartizan_hypervisor::supervisor::vhost::{Link, Message, Request, Ring};
use bartizan_local::admission::{self, Admission, AdmissionReply, AdmissionRequest, Ticket};
use bartizan_local::attachment::{Attach, Attached, MAX_FRAME};
use bartizan_local::{FrameError, aio, decode, recv_with_descriptors};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// The stand-in; it ends with its test.
pub(crate) struct FakeDevices {
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    admitted: Mutex<Vec<Admission>>,
    attachments: AtomicUsize,
    unknown: AtomicUsize,
    refuses: Mutex<Option<String>>,
    drop_all: broadcast::Sender<()>,
}

impl FakeDevices {
    pub(crate) fn serve(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        // Whoever asks is asked who it is, as by the true one.
        std::fs::set_permissions(socket, Permissions::from_mode(0o666)).unwrap();
        let state = Arc::new(State {
            admitted: Mutex::default(),
            attachments: AtomicUsize::new(0),
            unknown: AtomicUsize::new(0),
            refuses: Mutex::default(),
            drop_all: broadcast::channel(1).0,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { state, accepting }
    }

    /// How often a device was attached.
    pub(crate) fn attachments(&self) -> usize {
        self.state.attachments.load(Ordering::Relaxed)
    }

    /// How often a ticket was unknown.
    pub(crate) fn unknown(&self) -> usize {
        self.state.unknown.load(Ordering::Relaxed)
    }

    /// What may be attached.
    pub(crate) fn admitted(&self) -> Vec<Admission> {
        self.state.admitted.lock().unwrap().clone()
    }

    /// As a daemon would.
    pub(crate) fn admit(&self, admission: Admission) {
        self.state.admit(admission);
    }

    /// Admits nobody, and says why.
    pub(crate) fn refuse(&self, why: Option<&str>) {
        *self.state.refuses.lock().unwrap() = why.map(str::to_owned);
    }

    /// Ends every connection and forgets all, as a kill would.
    pub(crate) fn drop_all(&self) {
        self.state.admitted.lock().unwrap().clear();
        self.state.drop_all.send(()).unwrap();
    }
}

impl Drop for FakeDevices {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn admit(&self, admission: Admission) {
        let mut admitted = self.admitted.lock().unwrap();
        admitted.retain(|other| other.cid != admission.cid);
        admitted.push(admission);
    }

    fn knows(&self, ticket: Ticket) -> bool {
        let admitted = self.admitted.lock().unwrap();
        admitted.iter().any(|one| one.ticket == ticket)
    }

    fn answer(&self, request: AdmissionRequest) -> AdmissionReply {
        match (request, self.refuses.lock().unwrap().clone()) {
            (AdmissionRequest::Admit(_), Some(why)) => return AdmissionReply::Refused(why),
            (AdmissionRequest::Admit(admission), None) => self.admit(admission),
            (AdmissionRequest::Retain(tickets), _) => {
                let mut admitted = self.admitted.lock().unwrap();
                admitted.retain(|one| tickets.contains(&one.ticket));
            }
            (AdmissionRequest::Observe(_), _) => {
                return AdmissionReply::Refused("nothing is to be seen here".into());
            }
        }
        AdmissionReply::Done
    }
}

async fn accept(listener: UnixListener, state: Arc<State>) {
    loop {
        let (control, _) = listener.accept().await.unwrap();
        let mut dropped = state.drop_all.subscribe();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            tokio::select! {
                _ = dropped.recv() => {}
                _ = serve(control, &state) => {}
            }
        });
    }
}

/// Whoever connects, daemon or supervisor: here they have one user.
async fn serve(mut control: UnixStream, state: &State) -> Result<(), FrameError> {
    let mut frame = [0; 1024];
    let (size, descriptors) = control
        .async_io(Interest::READABLE, || {
            recv_with_descriptors(&control, &mut frame)
        })
        .await?;
    let Some(body) = frame.get(4..size) else {
        return Ok(());
    };
    if descriptors.is_empty() {
        let mut request = decode(body)?;
        loop {
            let reply = state.answer(request);
            aio::write_frame(&mut control, &reply, admission::MAX_FRAME).await?;
            request = aio::read_frame(&mut control, admission::MAX_FRAME).await?;
        }
    }
    assert_eq!(descriptors.len(), 1, "the journal");
    let Attach { ticket, .. } = decode(body)?;
    if !state.knows(ticket) {
        state.unknown.fetch_add(1, Ordering::Relaxed);
        return aio::write_frame(&mut control, &Attached::UnknownTicket, MAX_FRAME).await;
    }
    aio::write_frame(&mut control, &Attached::Serving, MAX_FRAME).await?;
    state.attachments.fetch_add(1, Ordering::Relaxed);
    serve_device(Link::new(control)).await;
    Ok(())
}

/// Answers as a vsock device of CID 7 does.
async fn serve_device(mut link: Link) {
    while let Ok(message) = link.receive().await {
        let request = message.header.request;
        let payload = match request {
            // VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES.
            Request::GetFeatures => number(1 << 32 | 1 << 30),
            // REPLY_ACK, CONFIG.
            Request::GetProtocolFeatures => number(1 << 3 | 1 << 9),
            Request::GetConfig => {
                let mut payload = message.payload.clone();
                payload[12..20].copy_from_slice(&7u64.to_le_bytes());
                payload
            }
            Request::GetRingBase => Ring {
                number: 0,
                ..message.ring().unwrap()
            }
            .bytes(),
            _ if message.header.need_reply => number(0),
            _ => continue,
        };
        let answer = Message::answer(request, payload);
        if link
            .send(answer.header, &answer.payload, &[])
            .await
            .is_err()
        {
            return;
        }
    }
}

fn number(value: u64) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}
