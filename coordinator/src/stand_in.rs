//! A release key, what it signs, and a card that answers one stage after another with what a test says.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bartizan_boot::{
    Bundle, BundleReply, BundleRequest, Component, File, Link, Manifest, Part, Phase, Sha384, Start,
};
use bartizan_cose::{Curve, PublicKey, Sign, SignError};
use bartizan_local::{read_frame, write_frame};

pub(crate) struct Key(EcdsaKeyPair);

impl Key {
    pub(crate) fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_point(Curve::P384, self.0.public_key().as_ref()).unwrap()
    }

    /// A bundle of one stage.
    pub(crate) fn bundle(&self, version: u64) -> Vec<u8> {
        let stage2 = b"stage2".to_vec();
        let mut first = component(Phase::Coordinator, "stage2");
        first.path = None;
        let components = vec![first, component(Phase::Hypervisor, "hypervisor")];
        let bundle = Bundle {
            manifest: self.release(Part::Bundle, version, components).into(),
            files: vec![File {
                name: "stage2".into(),
                contents: stage2.into(),
            }],
        };
        bundle.to_bytes()
    }

    /// A base, in the clothes of a bundle.
    pub(crate) fn base(&self) -> Vec<u8> {
        let components = vec![
            component(Phase::Card, "card"),
            component(Phase::Devices, "devices"),
        ];
        let bundle = Bundle {
            manifest: self.release(Part::Base, 1, components).into(),
            files: Vec::new(),
        };
        bundle.to_bytes()
    }

    fn release(&self, part: Part, version: u64, components: Vec<Component>) -> Vec<u8> {
        let manifest = Manifest {
            product: "bartizan".into(),
            part,
            version,
            components,
        };
        manifest.sign(self).unwrap()
    }
}

impl Sign for Key {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.0.sign(&SystemRandom::new(), bytes);
        Ok(signature.unwrap().as_ref().to_vec())
    }
}

fn component(phase: Phase, name: &str) -> Component {
    Component {
        phase,
        name: name.into(),
        path: Some(format!("/usr/lib/bartizan/{name}")),
        sha384: vec![Sha384::of(name.as_bytes())],
        start: start(phase),
    }
}

/// What each boot needs of a phase: a vault, and a stage that leads on to the next part.
fn start(phase: Phase) -> Option<Start> {
    let link = match phase {
        Phase::Card => Link::Vault,
        Phase::Devices | Phase::Coordinator => Link::Coordinator,
        Phase::Hypervisor | Phase::Enclave => return None,
    };
    Some(Start {
        phase,
        user: "nobody".into(),
        arguments: Vec::new(),
        capabilities: Vec::new(),
        inherits: Vec::new(),
        link: Some(link),
        environment: Vec::new(),
    })
}

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
