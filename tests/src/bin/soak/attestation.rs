//! Two guests attest without pause.

use anyhow::Result;
use bartizan_tests::stack::{GuestSpec, Stack};
use serde_json::json;

use crate::attesting::Attester;
use crate::chaos::Victim;
use crate::ledger::Ledger;
use crate::life::same_guests;
use crate::phases::{self, Orders, Plan, Work};
use crate::random::Random;
use crate::summary::Summary;

/// The guests' names.
const GUESTS: [&str; 2] = ["one", "two"];

pub(crate) fn run(minutes: u64, seed: u64) -> Result<Summary> {
    eprintln!("\u{25b8} start the stack, boot two guests");
    let mut stack = Stack::start()?;
    stack.register_package("nginx", "/usr/sbin/nginx", "nginx")?;
    let mut random = Random::new(seed);
    let mut attesters = Vec::new();
    for name in GUESTS {
        attesters.push(Attester::new(stack.host.boot(&spec(name))?, random.next())?);
    }
    let before = stack.operator.must(&["vm", "list"])?;
    eprintln!("\u{2713} {before}");

    let (ledger, orders) = (Ledger::default(), Orders::default());
    let plan = Plan {
        guests: &GUESTS,
        victims: &Victim::OF_ATTESTATION,
        orders: &orders,
        operate: &mut |_, _| Ok(()),
        tell: &|| ledger.told(),
    };
    let work = |attester| -> Work<'_> {
        let attester: &mut Attester = attester;
        let (orders, ledger) = (&orders, &ledger);
        Box::new(move || attester.run(orders, ledger))
    };
    let works = attesters.iter_mut().map(work).collect();
    let mut outcome = phases::go(&mut stack, plan, works, minutes, &mut random);
    for attester in &mut attesters {
        outcome.check(attester.check_life());
    }
    outcome.check(same_guests(&stack, &before));
    let book = ledger.book();
    outcome.problems.extend(book.wrong.iter().cloned());
    eprintln!(
        "\u{25b8} look for {} acknowledged verdicts",
        book.acknowledged.len()
    );
    let lost = book.lost(&stack.operator)?;
    let lost = lost.iter().map(|id| format!("verdict {id} is lost"));
    outcome.problems.extend(lost);
    outcome.demand(&book.statuses, &["affirming", "contraindicated", "none"]);
    let counts = [
        ("verdicts", book.statuses.clone()),
        ("refusals", book.refusals.clone()),
    ];
    Ok(outcome.summary((seed, minutes), counts))
}

/// Two guests with a budget that lets them ask without pause.
fn spec(name: &str) -> GuestSpec {
    let mut spec = GuestSpec::new(name);
    spec.budget = Some(json!({
        "bytes_per_request": 512_u64 << 20,
        "concurrent": 8,
        "requests_per_minute": 6000,
        "pause_ms_per_minute": 60_000,
    }));
    spec
}
