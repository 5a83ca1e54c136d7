//! Who decides, as the hypervisor hands it on.

use std::os::unix::net::UnixStream;

use bartizan_local::flow::{
    Epoch, Flow, FromDevices, Guest, GuestEpoch, MAX_FRAME, Question, ToDevices, Verdict, Width,
};
use bartizan_local::{read_frame, write_frame};

use crate::daemon::Daemon;

/// A link to devices.
pub(crate) struct Decider {
    link: UnixStream,
    pub(crate) epoch: Epoch,
}

impl Decider {
    /// One that devices know of: they have answered it already.
    pub(crate) fn new(daemon: &Daemon) -> Self {
        let decider = Self::connected(daemon);
        decider.wait_until_heard();
        decider
    }

    /// Until all that was said before is at the guests'.
    pub(crate) fn wait_until_heard(&self) {
        let nobody = GuestEpoch {
            guest: Guest {
                vm: [0; 16],
                boot: 0,
            },
            epoch: Epoch::default(),
        };
        self.say(&ToDevices::Epoch(nobody));
        assert_eq!(self.hear(), FromDevices::InForce(nobody));
    }

    pub(crate) fn connected(daemon: &Daemon) -> Self {
        Self {
            link: daemon.decisions(),
            epoch: Epoch {
                policy: 1,
                state: 0,
            },
        }
    }

    /// One of another user's.
    pub(crate) fn stranger(daemon: &Daemon) -> Self {
        Self {
            link: daemon.strangers_decisions(),
            epoch: Epoch::default(),
        }
    }

    pub(crate) fn hear(&self) -> FromDevices {
        read_frame(&mut &self.link, MAX_FRAME).unwrap()
    }

    pub(crate) fn say(&self, message: &ToDevices) {
        write_frame(&mut &self.link, message, MAX_FRAME).unwrap();
    }

    pub(crate) fn question(&self) -> Question {
        match self.hear() {
            FromDevices::Question(question) => question,
            other => panic!("{other:?}"),
        }
    }

    /// Answers the next question, which must be of that guest; of that flow alone.
    pub(crate) fn decide(&self, guest: Guest, allowed: bool) -> Flow {
        let question = self.question();
        assert_eq!(question.guest, guest);
        self.answer(&question, allowed, false);
        question.flow
    }

    pub(crate) fn answer(&self, question: &Question, allowed: bool, allowed_unavailable: bool) {
        let flow = question.flow;
        self.say(&ToDevices::Verdict(Verdict {
            number: question.number,
            guest: question.guest,
            epoch: self.epoch,
            allowed,
            allowed_unavailable,
            reason: "test/rule".into(),
            width: Width {
                direction: Some(flow.direction),
                protocol: Some(flow.protocol),
                peers: None,
                ports: flow.port.map(|port| (port, port)),
                icmp_types: flow.icmp_type.map(|kind| (kind, kind)),
                outside: Some(flow.outside),
            },
            begin_within_s: None,
        }));
    }

    /// Another policy for a guest; waits until it is in force.
    pub(crate) fn enter(&mut self, guest: Guest) {
        self.epoch.policy += 1;
        let epoch = GuestEpoch {
            guest,
            epoch: self.epoch,
        };
        self.say(&ToDevices::Epoch(epoch));
        while self.hear() != FromDevices::InForce(epoch) {}
    }

    /// Devices have ended this link.
    pub(crate) fn is_over(&self) -> bool {
        read_frame::<FromDevices>(&mut &self.link, MAX_FRAME).is_err()
    }
}
