//! A guest that uses another's servers without pause, as policies let it, and tries what they do not.

use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use bartizan_tests::agent::Outcome;
use bartizan_tests::network::{WEB, WEB_6};
use bartizan_tests::stack::Guest;

use crate::journal::Journal;
use crate::life::Life;
use crate::phases::Orders;
use crate::random::Random;

/// What is done once.
pub(crate) struct Errand {
    pub(crate) name: &'static str,
    pub(crate) script: String,
    pub(crate) due: Due,
}

/// What comes of it.
pub(crate) enum Due {
    /// An end without an error.
    Success,
    /// This output.
    Output(String),
    /// No answer at all.
    Silence,
}

pub(crate) struct Visitor {
    pub(crate) guest: Guest,
    pub(crate) life: Life,
    pub(crate) random: Random,
    pub(crate) errands: Vec<Errand>,
}

impl Visitor {
    pub(crate) fn new(mut guest: Guest, seed: u64, errands: Vec<Errand>) -> Result<Self> {
        Ok(Self {
            life: Life::of(&mut guest)?,
            random: Random::new(seed),
            guest,
            errands,
        })
    }

    /// Goes on one errand after the other until it is over; fails if the guest is gone.
    pub(crate) fn run(&mut self, orders: &Orders, journal: &Journal) -> Result<()> {
        while !orders.over.load(Ordering::Relaxed) {
            let errand = self.random.one_of(&self.errands);
            let was_calm = orders.calm.load(Ordering::Relaxed);
            match self.guest.agent.run(&errand.script) {
                Ok(outcome) => errand.judge(&outcome, was_calm, journal),
                // The hand is cut off where devices are killed.
                Err(error) if !was_calm => self
                    .guest
                    .reconnect()
                    .with_context(|| format!("{}: {error:#}", self.guest.name))?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// See [`Life::check`].
    pub(crate) fn check_life(&mut self) -> Result<()> {
        self.life.check(&mut self.guest)
    }
}

impl Errand {
    fn judge(&self, outcome: &Outcome, calm: bool, journal: &Journal) {
        let came = outcome.code == Some(0);
        let why = || format!("{outcome:?}");
        match &self.due {
            Due::Success if came => journal.done(self.name),
            Due::Output(due) if came && outcome.stdout == *due => journal.done(self.name),
            Due::Output(_) if came => journal.wrong(self.name, &why()),
            Due::Success | Due::Output(_) => journal.failed(self.name, calm, &why()),
            // A refusal is an answer: who sends one has heard of it.
            Due::Silence if came || outcome.stderr.contains("refused") => {
                journal.wrong(self.name, &why());
            }
            Due::Silence => journal.done(self.name),
        }
    }
}

/// All that the server serves, and what it does not.
pub(crate) fn errands(large: &str) -> Vec<Errand> {
    let errand = |name, due, script: String| Errand { name, script, due };
    let download = |host: &str| {
        format!("set -o pipefail; curl -gsS --max-time 100 http://{host}/large | sha256sum")
    };
    let bash = |script: String| format!("bash -c '{script}'");
    let digest = || Due::Output(large.to_owned());
    vec![
        errand(
            "pages",
            Due::Success,
            format!(
                "curl -gfsS --max-time 100 -H connection:close -o /dev/null 'http://{WEB}/?[1-40]'"
            ),
        ),
        errand("download", digest(), bash(download(WEB))),
        errand(
            "download-ipv6",
            digest(),
            bash(download(&format!("[{WEB_6}]"))),
        ),
        errand(
            "iperf3",
            Due::Success,
            format!("timeout 60 iperf3 -c {WEB} -t 2 > /dev/null"),
        ),
        errand(
            "iperf3-back",
            Due::Success,
            format!("timeout 60 iperf3 -c {WEB_6} -R -t 2 > /dev/null"),
        ),
        errand(
            "iperf3-udp",
            Due::Success,
            format!("timeout 60 iperf3 -c {WEB} -u -b 2M -l 1200 -t 2 > /dev/null"),
        ),
        errand(
            "dns",
            Due::Success,
            format!("timeout 60 drill ledger.example @{WEB} | grep -q {WEB}"),
        ),
        errand(
            "dns-tcp",
            Due::Success,
            format!("timeout 60 drill -t ledger.example @{WEB} | grep -q {WEB}"),
        ),
        errand(
            "ssh",
            Due::Output("guest\n".into()),
            format!("timeout 100 ssh -n -o BatchMode=yes root@{WEB} hostname"),
        ),
        errand(
            "denied",
            Due::Silence,
            bash(format!("timeout 2 bash -c \"exec 3<>/dev/tcp/{WEB}/81\"")),
        ),
    ]
}
