//! A stand-in for the hypervisor: it tells what it was asked, and answers that it is done, at once or when it is told to.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, mpsc};

use bartizan_attestation::host::{
    EnclaveLink, FlowsEnd, FlowsSeen, FlowsTally, MAX_FRAME, Observation, OperatorRefusal,
    OperatorReply, OperatorRequest,
};
use bartizan_local::{read_frame, write_frame};

use crate::DEADLINE;

/// Its link to an enclave.
pub(super) const LINK: EnclaveLink = EnclaveLink {
    since_s: Some(7),
    guests: 3,
};

/// A capture of so many seconds breaks off at once, or in the midst, since devices are gone.
pub(super) const NEVER_BEGINS_S: u32 = 7;
pub(super) const BREAKS_OFF_S: u32 = 8;

pub(super) struct StandInHypervisor {
    asked: mpsc::Receiver<OperatorRequest>,
    held: Arc<Held>,
}

/// The VM whose stopping waits.
#[derive(Default)]
struct Held(Mutex<Option<String>>, Condvar);

impl StandInHypervisor {
    pub(super) fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let (tell, asked) = mpsc::channel();
        let held = Arc::new(Held::default());
        let shared = Arc::clone(&held);
        std::thread::spawn(move || {
            for link in listener.incoming() {
                let (link, tell, held) = (link.unwrap(), tell.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(link, &tell, &held));
            }
        });
        Self { asked, held }
    }

    /// What it was asked next.
    pub(super) fn asked(&self) -> OperatorRequest {
        self.asked.recv_timeout(DEADLINE).unwrap()
    }

    /// What it was asked, if anything.
    pub(super) fn asked_already(&self) -> Option<OperatorRequest> {
        self.asked.try_recv().ok()
    }

    pub(super) fn hold(&self, vm: &str) {
        *self.held.0.lock().unwrap() = Some(vm.to_owned());
    }

    pub(super) fn release(&self) {
        *self.held.0.lock().unwrap() = None;
        self.held.1.notify_all();
    }
}

fn serve(mut link: UnixStream, tell: &mpsc::Sender<OperatorRequest>, held: &Held) {
    let Ok(request) = read_frame::<OperatorRequest>(&mut link, MAX_FRAME) else {
        return;
    };
    // Nobody may be listening any more.
    let _told = tell.send(request.clone());
    if let OperatorRequest::ShowEnclave = request {
        let _gone = write_frame(&mut link, &OperatorReply::Enclave(LINK), MAX_FRAME);
        return;
    }
    if let OperatorRequest::ObserveFlows(asked) = request {
        return show(&mut link, asked.what);
    }
    if let OperatorRequest::Stop { vm, .. } = request {
        let mut holds = held.0.lock().unwrap();
        while holds.as_ref() == Some(&vm) {
            holds = held.1.wait(holds).unwrap();
        }
    }
    let _gone = write_frame(&mut link, &OperatorReply::Done, MAX_FRAME);
}

/// A watch goes on for as long as it is read.
fn show(link: &mut UnixStream, what: Observation) {
    let tally = FlowsTally {
        told: 1,
        bytes: 4,
        dropped: 0,
    };
    let away = OperatorReply::Refused(OperatorRefusal::DevicesAway("killed".into()));
    if matches!(what, Observation::Capture(limits) if limits.seconds == NEVER_BEGINS_S) {
        return write_frame(link, &away, MAX_FRAME).unwrap();
    }
    let mut say = |seen| write_frame(&mut *link, &OperatorReply::Seen(seen), MAX_FRAME);
    match what {
        Observation::Watch(_) => while say(FlowsSeen::Going(tally)).is_ok() {},
        Observation::Capture(limits) if limits.seconds == BREAKS_OFF_S => {
            say(FlowsSeen::Pcap(b"head".to_vec())).unwrap();
            write_frame(link, &away, MAX_FRAME).unwrap();
        }
        Observation::Capture(_) => {
            say(FlowsSeen::Pcap(b"head".to_vec())).unwrap();
            say(FlowsSeen::Going(tally)).unwrap();
            say(FlowsSeen::Pcap(b"body".to_vec())).unwrap();
            let why = FlowsEnd::Packets;
            say(FlowsSeen::Ended { why, tally }).unwrap();
        }
        // It ends in the midst.
        Observation::List => say(FlowsSeen::Flows(Vec::new())).unwrap(),
    }
}
