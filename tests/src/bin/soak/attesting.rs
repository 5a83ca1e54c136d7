//! One guest that asks without pause: mixed targets and algorithms, its nginx intact or patched.

use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use bartizan_tests::nginx::Nginx;
use bartizan_tests::stack::Guest;
use serde_json::Value;

use crate::ledger::Ledger;
use crate::life::Life;
use crate::phases::Orders;
use crate::random::Random;

pub(crate) struct Attester {
    pub(crate) guest: Guest,
    nginx: Nginx,
    worker: u32,
    /// The byte of nginx's code that is patched now and then.
    original: String,
    random: Random,
    life: Life,
}

/// What is asked, and the status that is due.
struct Wish {
    arguments: String,
    patched: bool,
    due: &'static str,
}

impl Attester {
    pub(crate) fn new(mut guest: Guest, seed: u64) -> Result<Self> {
        let nginx = Nginx::of(&mut guest)?;
        // Touched, so that it is there for requests that name it.
        let (pid, page) = (nginx.pid, nginx.text.start / 4096);
        guest.agent.must(&format!(
            "dd if=/proc/{pid}/mem of=/dev/null bs=4096 skip={page} count=1 2>/dev/null"
        ))?;
        Ok(Self {
            worker: nginx.worker(&mut guest)?,
            original: nginx.byte(&mut guest)?,
            life: Life::of(&mut guest)?,
            random: Random::new(seed),
            nginx,
            guest,
        })
    }

    /// Asks until it is over; fails if the guest is gone.
    pub(crate) fn run(&mut self, orders: &Orders, ledger: &Ledger) -> Result<()> {
        while !orders.over.load(Ordering::Relaxed) {
            if let Err(error) = self.ask(orders, ledger) {
                // The hand is cut off where devices are killed; what it ran is killed with it.
                self.recover()
                    .with_context(|| format!("{}: {error:#}", self.guest.name))?;
            }
        }
        Ok(())
    }

    /// See [`Life::check`].
    pub(crate) fn check_life(&mut self) -> Result<()> {
        self.life.check(&mut self.guest)
    }

    fn ask(&mut self, orders: &Orders, ledger: &Ledger) -> Result<()> {
        let wish = self.wish();
        if wish.patched {
            self.nginx.patch(&mut self.guest)?;
        }
        let was_calm = orders.calm.load(Ordering::Relaxed);
        let (_, answer) = self.guest.attest(&wish.arguments)?;
        if wish.patched {
            self.nginx.write(&mut self.guest, &self.original)?;
        }
        let mut book = ledger.book();
        match (answer["verdict"].as_str(), answer["status"].as_str()) {
            (Some(id), Some(status)) => book.verdict(id, status, wish.due, &answer),
            _ => book.refusal(&problem(&answer), was_calm, &answer),
        }
        Ok(())
    }

    fn wish(&mut self) -> Wish {
        let (nginx, text) = (self.nginx.pid, self.nginx.text.start);
        let profiled = *self.random.one_of(&["sha-256", "sha-384"]);
        let any = *self.random.one_of(&[
            "sha-256", "sha-384", "sha-512", "sha3-256", "sha3-384", "sha3-512", "blake3",
        ]);
        let kind = *self.random.one_of(&["flat", "tree"]);
        let (arguments, patched, due) = match self.random.next() % 8 {
            0..3 => (
                format!("--application nginx --pid {nginx} --algorithm {profiled}"),
                false,
                "affirming",
            ),
            3 => (
                format!(
                    "--application nginx --pid {} --algorithm {profiled}",
                    self.worker
                ),
                false,
                "affirming",
            ),
            4 => (
                format!("--application nginx --pid {nginx} --algorithm {profiled}"),
                true,
                "contraindicated",
            ),
            5 => (
                format!("--application nobody --pid {nginx} --algorithm {any}"),
                false,
                "none",
            ),
            6 => (
                format!(
                    "--application nginx --pid {nginx} --region {text:#x}+0x1000 --algorithm {any}"
                ),
                false,
                "none",
            ),
            _ => (
                format!("--application nginx --physical 0x1000000+0x100000 --algorithm {any}"),
                false,
                "none",
            ),
        };
        Wish {
            arguments: format!("{arguments} --kind {kind}"),
            patched,
            due,
        }
    }

    /// Waits for the hand to connect again, and mends what it may have left patched.
    fn recover(&mut self) -> Result<()> {
        self.guest.reconnect()?;
        self.nginx.write(&mut self.guest, &self.original)
    }
}

/// The kind of the problem that the guest's tool tells of.
fn problem(answer: &Value) -> String {
    let error = answer["error"].as_str().unwrap_or_default();
    let kind = error
        .split_once("urn:bartizan:problem:")
        .and_then(|(_, rest)| rest.split_once(')'));
    kind.map_or("no-answer", |(kind, _)| kind).to_owned()
}
