//! A devices process that takes every attachment and moves no packet.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bartizan_hypervisor::supervisor::vhost::{Link, Message, Request, Ring};
use bartizan_local::attachment::{Attached, MAX_FRAME};
use bartizan_local::{aio, recv_with_descriptors};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// The stand-in; it ends with its test.
pub(crate) struct FakeDevices {
    attachments: Arc<AtomicUsize>,
    drop_all: broadcast::Sender<()>,
    accepting: JoinHandle<()>,
}

impl FakeDevices {
    pub(crate) fn serve(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        // Whoever asks is asked who it is, as by the true one.
        std::fs::set_permissions(socket, Permissions::from_mode(0o666)).unwrap();
        let attachments = Arc::new(AtomicUsize::new(0));
        let (drop_all, _) = broadcast::channel(1);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&attachments), drop_all.clone()));
        Self {
            attachments,
            drop_all,
            accepting,
        }
    }

    /// How often a device was attached.
    pub(crate) fn attachments(&self) -> usize {
        self.attachments.load(Ordering::Relaxed)
    }

    /// Ends every attachment, as a kill would.
    pub(crate) fn drop_all(&self) {
        self.drop_all.send(()).unwrap();
    }
}

impl Drop for FakeDevices {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: UnixListener,
    attachments: Arc<AtomicUsize>,
    drop_all: broadcast::Sender<()>,
) {
    loop {
        let (mut control, _) = listener.accept().await.unwrap();
        let mut frame = [0; 1024];
        let (_, mut descriptors) = control
            .async_io(Interest::READABLE, || {
                recv_with_descriptors(&control, &mut frame)
            })
            .await
            .unwrap();
        assert_eq!(descriptors.len(), 2, "the connection and the journal");
        let stream = std::os::unix::net::UnixStream::from(descriptors.remove(0));
        stream.set_nonblocking(true).unwrap();
        let link = Link::new(UnixStream::from_std(stream).unwrap());
        aio::write_frame(&mut control, &Attached::Serving, MAX_FRAME)
            .await
            .unwrap();
        attachments.fetch_add(1, Ordering::Relaxed);
        let mut dropped = drop_all.subscribe();
        tokio::spawn(async move {
            let _control = control;
            tokio::select! {
                _ = dropped.recv() => {}
                () = serve(link) => {}
            }
        });
    }
}

/// Answers as a vsock device of CID 7 does.
async fn serve(mut link: Link) {
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
