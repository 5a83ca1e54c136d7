//! A release key, what it signs, and a card that answers one stage after another with what a test says.

mod key;

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use bartizan_boot::{BundleReply, BundleRequest};
use bartizan_local::{read_frame, write_frame};

pub(crate) use key::Key;

/// What the card does with a request.
pub(crate) enum Turn {
    /// Answers, and sends these bytes after it.
    Answer(BundleReply, Vec<u8>),
    /// The same, and then nothing until the stage has gone.
    Stall(BundleReply, Vec<u8>),
    /// Says something that is no answer.
    Say(Vec<u8>),
    /// Says nothing until the stage has gone.
    Wait,
}

impl Turn {
    pub(crate) fn serve(bundle: &[u8]) -> Self {
        let size = u32::try_from(bundle.len()).unwrap();
        Self::Answer(BundleReply::Follows { size }, bundle.to_vec())
    }
}

pub(crate) struct StandIn {
    pub(crate) socket: PathBuf,
    pub(crate) asked: Receiver<BundleRequest>,
    _folder: tempfile::TempDir,
    _thread: JoinHandle<()>,
}

impl StandIn {
    /// A card that takes so many turns, and is away then.
    pub(crate) fn new(turns: Vec<Turn>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("card.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (heard, asked) = channel();
        let thread = std::thread::spawn(move || {
            for turn in turns {
                let (mut link, _) = listener.accept().unwrap();
                let request = read_frame(&mut link, BundleRequest::MAX_FRAME).unwrap();
                heard.send(request).ok();
                // A stage that was told enough does not wait for the rest.
                match turn {
                    Turn::Answer(reply, bytes) => {
                        write_frame(&mut link, &reply, BundleRequest::MAX_FRAME).unwrap();
                        link.write_all(&bytes).ok();
                    }
                    Turn::Stall(reply, bytes) => {
                        write_frame(&mut link, &reply, BundleRequest::MAX_FRAME).unwrap();
                        link.write_all(&bytes).unwrap();
                        let _gone: Result<BundleRequest, _> = read_frame(&mut link, 1);
                    }
                    Turn::Say(bytes) => {
                        link.write_all(&bytes).ok();
                    }
                    Turn::Wait => {
                        let _gone: Result<BundleRequest, _> = read_frame(&mut link, 1);
                    }
                }
            }
        });
        Self {
            socket,
            asked,
            _folder: folder,
            _thread: thread,
        }
    }
}
