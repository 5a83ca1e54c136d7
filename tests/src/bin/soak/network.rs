//! A server, its client, and a guest that floods: policies change, the flooding guest is isolated now and then, and daemons are killed.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use bartizan_tests::agent::HAND;
use bartizan_tests::enrolled::Enrolled;
use bartizan_tests::network::frames::Way;
use bartizan_tests::network::servers::{self, servers_only};
use bartizan_tests::network::{CLIENT, CLIENT_6, WEB, WEB_6};
use bartizan_tests::stack::{Guest, GuestSpec, Stack};

use crate::chaos::Victim;
use crate::journal::Journal;
use crate::life::{Life, same_guests};
use crate::phases::{self, Orders, Plan, Work};
use crate::random::Random;
use crate::summary::Summary;
use crate::visitor::{Due, Errand, Visitor, errands};

const GUESTS: [&str; 3] = ["web", "client", "flooder"];
/// The flooding guest's addresses.
const FLOODER: (&str, &str) = ("10.77.0.3", "fd77::3");
/// Where it sends to: what one of two policies lets it.
const PORT: u16 = 7000;
/// New flows of a flood.
const FLOOD: u64 = 100_000;

/// Where the server notes what comes of them, and how many may still be on their way once none is let pass any more: those in the server's inbox.
const CAME: &str = "/root/came";
const ON_THEIR_WAY: u64 = 4096;

/// What an operator does meanwhile.
struct Operating<'o> {
    orders: &'o Orders,
    journal: &'o Journal,
    /// The server.
    web: RefCell<&'o mut Guest>,
    /// Whether datagrams of the flood may come since the last orders were confirmed, and how many had come by then.
    last: Cell<Option<(bool, u64)>>,
    /// The guest that floods, as a URN.
    flooder: String,
    /// Of the policy that was applied last.
    serial: Cell<u64>,
    isolated: Cell<bool>,
}

pub(crate) fn run(minutes: u64, seed: u64) -> Result<Summary> {
    eprintln!("\u{25b8} start the stack, boot three guests");
    let mut stack = Stack::start()?;
    let mut random = Random::new(seed);
    let boot = |name: &str, role, addresses| {
        let spec = GuestSpec::small(name).in_network(role, addresses);
        stack.host.boot(&spec)
    };
    let mut web = boot("web", "web", (WEB, WEB_6))?;
    let mut client = boot("client", "client", (CLIENT, CLIENT_6))?;
    let mut flooder = boot("flooder", "client", FLOODER)?;
    stack.apply(1, &servers_only(&[PORT]))?;
    servers::start(&mut web.agent, &mut client.agent)?;
    let large = prepared(&mut web, &mut client)?;
    let urn = Enrolled::of(&mut flooder)?.guest.to_string();
    let flood = flood(&mut web, &mut flooder)?;
    web.agent.begin(CAME, &format!("sink {PORT} {CAME}"), "")?;
    let web_life = Life::of(&mut web)?;
    let mut visitors = [
        Visitor::new(client, random.next(), errands(&large))?,
        Visitor::new(flooder, random.next(), vec![flood])?,
    ];
    let before = stack.operator.must(&["vm", "list"])?;
    eprintln!("\u{2713} {before}");

    let (journal, orders) = (Journal::default(), Orders::default());
    let operating = Operating {
        orders: &orders,
        journal: &journal,
        web: RefCell::new(&mut web),
        last: Cell::new(None),
        flooder: urn,
        serial: Cell::new(1),
        isolated: Cell::new(false),
    };
    let plan = Plan {
        guests: &GUESTS,
        victims: &Victim::OF_FLOWS,
        orders: &orders,
        operate: &mut |stack, random| operating.operate(stack, random),
        tell: &|| journal.told(),
    };
    let work = |visitor| -> Work<'_> {
        let visitor: &mut Visitor = visitor;
        let (orders, journal) = (&orders, &journal);
        Box::new(move || visitor.run(orders, journal))
    };
    let works = visitors.iter_mut().map(work).collect();
    let mut outcome = phases::go(&mut stack, plan, works, minutes, &mut random);
    for visitor in &mut visitors {
        outcome.check(visitor.check_life());
    }
    outcome.check(there(&mut web).and_then(|()| web_life.check(&mut web)));
    outcome.check(same_guests(&stack, &before));
    let entries = journal.entries();
    outcome.problems.extend(entries.wrong.iter().cloned());
    let all = errands(&large);
    let mut due: Vec<_> = all.iter().map(|errand| errand.name).collect();
    due.extend([
        "flood",
        "flood let pass",
        "flood kept out",
        "policy",
        "isolate",
    ]);
    outcome.demand(&entries.done, &due);
    let counts = [
        ("done", entries.done.clone()),
        ("failed", entries.failed.clone()),
    ];
    Ok(outcome.summary((seed, minutes), counts))
}

/// Sees that the hand in the guest is there, which devices' end cuts off.
fn there(guest: &mut Guest) -> Result<()> {
    match guest.agent.run("true") {
        Ok(_) => Ok(()),
        Err(_) => guest.reconnect(),
    }
}

/// Has the server serve something large, and the client know its ssh key; the digest of the former.
fn prepared(web: &mut Guest, client: &mut Guest) -> Result<String> {
    client.agent.must(&format!(
        "ssh -n -o BatchMode=yes -o StrictHostKeyChecking=accept-new root@{WEB} true"
    ))?;
    web.agent.must(
        "dd if=/dev/urandom of=/var/www/html/large bs=1M count=16 status=none && sha256sum < /var/www/html/large",
    )
}

/// New flows as fast as the guest can, each of one datagram.
fn flood(web: &mut Guest, flooder: &mut Guest) -> Result<Errand> {
    let mut way = Way::to_web(&mut flooder.agent, &mut web.agent)?;
    way.v4.0 = FLOODER.0.parse()?;
    let frame = hex::encode(way.udp((1000, PORT), &[0; 8]));
    let placed = flooder
        .agent
        .run_with_input("cat > /root/flood", &format!("{frame}\n"))?;
    ensure!(placed.code == Some(0), "{placed:?}");
    Ok(Errand {
        name: "flood",
        script: format!("timeout 100 {HAND} flows {FLOOD} - < /root/flood"),
        due: Due::Success,
    })
}

impl Operating<'_> {
    /// Has the other policy rule; isolates the guest that floods, or takes it back. While others are killed, orders may be refused.
    fn operate(&self, stack: &Stack, random: &mut Random) -> Result<()> {
        let calm = self.orders.calm.load(Ordering::Relaxed);
        self.see(calm);
        let mut is_confirmed = true;
        let isolated = self.isolated.get();
        if isolated || (!calm && random.next().is_multiple_of(4)) {
            let order = if isolated { "release" } else { "isolate" };
            let guest = [&self.flooder, "--reason", "to see that it is"];
            let arguments = [&["guest", order], guest.as_slice()].concat();
            let ordered = stack.operator.must(&arguments).map(|_| ());
            // An order that was not answered may have been carried out: it is taken back all the same.
            self.isolated.set(order == "isolate" || ordered.is_err());
            is_confirmed = ordered.is_ok();
            self.note(order, calm, ordered);
        }
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let more: &[u16] = if serial.is_multiple_of(2) {
            &[]
        } else {
            &[PORT]
        };
        let applied = stack.apply(serial, &servers_only(more));
        is_confirmed &= applied.is_ok();
        self.note("policy", calm, applied);
        let may_come = !more.is_empty() && !self.isolated.get();
        let last = is_confirmed.then(|| Some((may_come, self.came().ok()?)));
        self.last.set(last.flatten());
        Ok(())
    }

    /// Whether the server has heard of the flood what the last orders let it.
    fn see(&self, calm: bool) {
        let Some((may_come, before)) = self.last.take() else {
            return;
        };
        match self.came() {
            Ok(now) if may_come && now > before => self.journal.done("flood let pass"),
            Ok(now) if !may_come && now > before + ON_THEIR_WAY => {
                let why = format!("{} came since it was confirmed that none may", now - before);
                self.journal.wrong("flood", &why);
            }
            Ok(_) if !may_come => self.journal.done("flood kept out"),
            // The one that floods may just have been starting another one.
            Ok(_) => {}
            Err(error) => self.journal.failed("look", calm, &format!("{error:#}")),
        }
    }

    /// How many datagrams of the flood have come.
    fn came(&self) -> Result<u64> {
        let web = &mut **self.web.borrow_mut();
        there(web)?;
        let [came] = web.agent.numbers(CAME)?;
        Ok(came)
    }

    fn note(&self, what: &str, calm: bool, ordered: Result<()>) {
        match ordered {
            Ok(()) => self.journal.done(what),
            Err(error) => self.journal.failed(what, calm, &format!("{error:#}")),
        }
    }
}
