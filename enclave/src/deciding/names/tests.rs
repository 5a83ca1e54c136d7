use bartizan_local::flow::{Direction, Flow, Guest as GuestBoot, Question, Verdict};
use bartizan_policy::{Format, Policy, read};
use proptest::prelude::*;

use super::*;
use crate::deciding::tests::{CLIENT, WEB, both, flow};
use crate::deciding::{Decider, Noted};

const SERVER: &str = "10.0.0.53";

/// Clients reach the database by its name, and whatever is below `cdn.test`; nothing below `bad.test`.
const RULES: &str = "
resolvers: [10.0.0.53]
rules:
- { name: db, effect: allow, on_unavailable: allow, network: { direction: egress, peer: { names: [db.test] } } }
- { name: cdn, effect: allow, network: { direction: egress, peer: { names: ['*.cdn.test'] } } }
- { name: bad, effect: deny, priority: 1, network: { peer: { names: ['*.bad.test'] } } }
- { name: outside, effect: allow, on_unavailable: allow, network: { peer: { addresses: [198.51.100.0/24] } } }
";

fn policy(rules: &str) -> Policy {
    let text = format!("version: 1\nname: web\nserial: 2\n{rules}");
    read(&text, Format::Yaml).unwrap()
}

fn decider(rules: &str) -> Decider {
    let mut decider = both();
    decider.rule(2, vec![policy(rules)]);
    decider
}

fn resolved(name: &str, addresses: &[&str], ttl_s: u32) -> Resolved {
    let addresses = addresses.iter().map(|one| one.parse().unwrap());
    Resolved {
        number: 8,
        guest: CLIENT,
        resolver: SERVER.parse().unwrap(),
        name: name.into(),
        addresses: addresses.collect(),
        ttl_s,
        since_s: 0,
        guests: Vec::new(),
    }
}

fn decided(decider: &Decider, guest: GuestBoot, peer: &str, since_s: u64, now: Instant) -> Verdict {
    let question = Question {
        number: 7,
        guest,
        flow: flow(Direction::Egress, peer, 443),
        since_s,
    };
    decider.decide(&question, now)
}

/// Known attack: a guest's name is taken with its address, by somebody outside while the guest has no device.
#[test]
fn a_guests_name_is_of_nobody_outside() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    let addresses = ["10.0.0.1", "10.0.0.9", "203.0.113.7"];
    decider
        .learn(&resolved("db.test", &addresses, 300), now)
        .unwrap();
    for (peer, outside, is_allowed) in [
        ("10.0.0.1", false, true),
        ("10.0.0.1", true, false),
        ("10.0.0.9", true, true),
        ("203.0.113.7", true, true),
    ] {
        let asked = flow(Direction::Egress, peer, 443);
        let question = Question {
            number: 7,
            guest: CLIENT,
            flow: Flow { outside, ..asked },
            since_s: 0,
        };
        let verdict = decider.decide(&question, now);
        assert_eq!(verdict.allowed, is_allowed, "{peer}, outside: {outside}");
        assert_eq!(verdict.width.outside, Some(outside));
    }
}

/// Known attack: the guest ends, and somebody outside has its address, which the name is known of for as long as it was said.
#[test]
fn a_name_learnt_of_a_guest_outlives_it_for_nobody_outside() {
    let asks = |decider: &Decider, outside, now| {
        let asked = flow(Direction::Egress, "10.0.0.1", 443);
        let question = Question {
            number: 7,
            guest: CLIENT,
            flow: Flow { outside, ..asked },
            since_s: 0,
        };
        decider.decide(&question, now).allowed
    };
    let (mut first, now) = (decider(RULES), Instant::now());
    let db = resolved("db.test", &["10.0.0.1"], 300);
    first.learn(&db, now).unwrap();
    first.ended(WEB);
    assert!(asks(&first, false, now) && !asks(&first, true, now));
    // Devices tell it again to whoever decides next, and whose the address was.
    let mut second = decider(RULES);
    second.ended(WEB);
    let told = |guests: &[&str]| Resolved {
        guests: guests.iter().map(|one| one.parse().unwrap()).collect(),
        since_s: 60,
        ..db.clone()
    };
    second.learn(&told(&["10.0.0.1"]), now).unwrap();
    assert!(!asks(&second, true, now));
    // It is his by another answer, which is another state of it.
    assert!(second.learn(&told(&[]), now).unwrap().anew);
    assert!(asks(&second, true, now));
}

fn allows(decider: &Decider, peer: &str, now: Instant) -> bool {
    decided(decider, CLIENT, peer, 0, now).allowed
}

fn after(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

#[test]
fn an_address_has_a_name_once_a_server_that_is_believed_says_so() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    assert!(!allows(&decider, "203.0.113.7", now));
    let noted = decider.learn(&resolved("db.test", &["203.0.113.7", "fd00::7"], 300), now);
    let anew = Noted {
        number: 8,
        guest: CLIENT,
        anew: true,
    };
    assert_eq!(noted, Ok(anew));
    let verdict = decided(&decider, CLIENT, "203.0.113.7", 0, now);
    assert!(verdict.allowed && verdict.reason == "web/db", "{verdict:?}");
    assert!(allows(&decider, "fd00::7", now));
    assert!(!allows(&decider, "203.0.113.8", now));
    // What one guest has heard is no word on what another may.
    assert!(!decided(&decider, WEB, "203.0.113.7", 0, now).allowed);
    // What is known is not decided anew.
    let noted = decider.learn(&resolved("db.test", &["203.0.113.7"], 600), now);
    assert_eq!(
        noted,
        Ok(Noted {
            anew: false,
            ..anew
        })
    );
}

/// Known attack: a server that no policy names, or that not all name whose rules are about names, says whose an address is.
#[test]
fn what_another_server_says_is_not_believed() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    let other = Resolved {
        resolver: "10.0.0.54".parse().unwrap(),
        ..resolved("db.test", &["203.0.113.7"], 300)
    };
    assert_eq!(decider.learn(&other, now), Err(NotBelieved::Server));
    assert!(!allows(&decider, "203.0.113.7", now));
    let second = policy(&RULES.replace("10.0.0.53", "10.0.0.54")).clone();
    let second = Policy {
        name: "other".into(),
        ..second
    };
    decider.rule(3, vec![policy(RULES), second]);
    assert_eq!(decider.learn(&other, now), Err(NotBelieved::Server));
    assert!(decider.resolvers().iter().all(|one| one.servers.is_empty()));
}

#[test]
fn what_is_no_hosts_name_or_of_no_guest_is_not_believed() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    let long = ["a"; 128].join(".");
    for name in [
        "", ".", "db.test.", "DB.test", "d b", "*", "db..test", &long,
    ] {
        let refused = decider.learn(&resolved(name, &["203.0.113.7"], 300), now);
        assert_eq!(refused, Err(NotBelieved::Name), "{name}");
    }
    let many = vec!["203.0.113.7"; MAX_NAMED + 1];
    let refused = decider.learn(&resolved("db.test", &many, 300), now);
    assert_eq!(refused, Err(NotBelieved::Addresses));
    let nobody = Resolved {
        guest: GuestBoot { boot: 9, ..CLIENT },
        ..resolved("db.test", &["203.0.113.7"], 300)
    };
    assert_eq!(decider.learn(&nobody, now), Err(NotBelieved::NoGuest));
}

/// Known attack: a TTL of 0, to have it asked without end, or a huge one, to keep an address that is long another's.
#[test]
fn a_name_ends_with_its_time_within_bounds() {
    for (ttl_s, holds_s) in [(0, 60), (300, 300), (u32::MAX, 24 * 3600)] {
        let (mut decider, now) = (decider(RULES), Instant::now());
        decider
            .learn(&resolved("db.test", &["203.0.113.7"], ttl_s), now)
            .unwrap();
        let verdict = decided(&decider, CLIENT, "203.0.113.7", 0, now);
        assert_eq!(verdict.begin_within_s, Some(holds_s));
        assert!(allows(&decider, "203.0.113.7", after(now, holds_s - 1)));
        let over = decided(&decider, CLIENT, "203.0.113.7", 0, after(now, holds_s));
        assert_eq!((over.allowed, over.begin_within_s), (false, None));
    }
}

#[test]
fn a_flow_goes_on_by_the_name_that_it_began_by() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    decider
        .learn(&resolved("db.test", &["203.0.113.7"], 60), now)
        .unwrap();
    let later = after(now, 1000);
    let since = |since_s| decided(&decider, CLIENT, "203.0.113.7", since_s, later);
    let goes_on = since(990);
    // No other begins by this.
    assert_eq!((goes_on.allowed, goes_on.begin_within_s), (true, Some(0)));
    assert!(!since(930).allowed && !since(0).allowed);
    // Learnt again, it is anew.
    let again = decider.learn(&resolved("db.test", &["203.0.113.7"], 60), later);
    assert!(again.unwrap().anew && allows(&decider, "203.0.113.7", later));
}

/// An enclave that was started again is told by devices what guests have heard before.
#[test]
fn what_came_before_ends_when_it_would_have() {
    let now = after(Instant::now(), 2 * 24 * 3600);
    let told = |since_s| {
        let mut decider = decider(RULES);
        let before = Resolved {
            since_s,
            ..resolved("db.test", &["203.0.113.7"], 300)
        };
        let noted = decider.learn(&before, now).unwrap();
        (decider, noted.anew)
    };
    let (decider, anew) = told(200);
    assert!(anew);
    let verdict = decided(&decider, CLIENT, "203.0.113.7", 0, now);
    assert_eq!((verdict.allowed, verdict.begin_within_s), (true, Some(100)));
    // A connection goes on by what has ended meanwhile; no other begins.
    let (decider, _) = told(1000);
    assert!(!allows(&decider, "203.0.113.7", now));
    assert!(decided(&decider, CLIENT, "203.0.113.7", 900, now).allowed);
    for since_s in [300 + 24 * 3600, u64::MAX] {
        let (decider, anew) = told(since_s);
        assert!(!anew && !decided(&decider, CLIENT, "203.0.113.7", u64::MAX, now).allowed);
    }
}

#[test]
fn a_verdict_by_no_name_does_not_end() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    let outside = |decider: &Decider| decided(decider, CLIENT, "198.51.100.7", 0, now);
    assert_eq!(outside(&decider).begin_within_s, None);
    decider
        .learn(&resolved("x.bad.test", &["198.51.100.7"], 300), now)
        .unwrap();
    let denied = outside(&decider);
    assert_eq!((denied.allowed, denied.begin_within_s), (false, Some(300)));
    assert_eq!(denied.reason, "web/bad");
}

#[test]
fn what_no_rule_is_about_changes_nothing() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    let learnt = decider.learn(&resolved("other.test", &["203.0.113.7"], 300), now);
    assert!(!learnt.unwrap().anew);
    let verdict = decided(&decider, CLIENT, "203.0.113.7", 0, now);
    assert_eq!((verdict.allowed, verdict.begin_within_s), (false, None));
    // Another policy is about it: it was heard already.
    decider.rule(3, vec![policy(&RULES.replace("db.test", "other.test"))]);
    assert!(allows(&decider, "203.0.113.7", now));
}

/// Known attack: a name goes on counting that a server gave whom no policy believes any more.
#[test]
fn what_was_heard_of_a_server_ends_with_the_belief_in_it() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    decider
        .learn(&resolved("db.test", &["203.0.113.7"], 300), now)
        .unwrap();
    decider.rule(3, vec![policy(&RULES.replace("10.0.0.53", "10.0.0.54"))]);
    assert!(!allows(&decider, "203.0.113.7", now));
    decider.rule(4, vec![policy(RULES)]);
    assert!(!allows(&decider, "203.0.113.7", now));
}

#[test]
fn a_guest_that_is_told_of_again_knows_its_names_and_a_later_boot_none() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    decider
        .learn(&resolved("db.test", &["203.0.113.7"], 300), now)
        .unwrap();
    let next = GuestBoot { boot: 2, ..CLIENT };
    let guest = |boot| crate::deciding::tests::guest(boot, "client", "10.0.0.2");
    decider.runs(CLIENT, guest(CLIENT));
    assert!(allows(&decider, "203.0.113.7", now));
    decider.runs(next, guest(next));
    assert!(!decided(&decider, next, "203.0.113.7", 0, now).allowed);
}

/// Known attack: an address has so many names that one which is denied is not looked at.
#[test]
fn names_that_rules_do_not_tell_apart_count_once_and_too_many_others_as_unknown() {
    let names: Vec<_> = (0..10).map(|number| format!("n{number}.test")).collect();
    let rules: String = names
        .iter()
        .map(|name| {
            format!(
                "- {{name: {}, effect: allow, network: {{peer: {{names: [{name}]}}}}}}\n",
                &name[..2]
            )
        })
        .collect();
    let rules = format!(
        "resolvers: [{SERVER}]\nrules:\n{rules}- {{name: cdn, effect: allow, network: {{peer: {{names: ['*.cdn.test']}}}}}}\n"
    );
    let (mut decider, now) = (decider(&rules), Instant::now());
    for number in 0..100 {
        let name = format!("n{number}.cdn.test");
        decider
            .learn(&resolved(&name, &["203.0.113.7"], 300), now)
            .unwrap();
    }
    assert!(allows(&decider, "203.0.113.7", now));
    for name in &names {
        decider
            .learn(&resolved(name, &["203.0.113.8"], 300), now)
            .unwrap();
    }
    assert!(!allows(&decider, "203.0.113.8", now));
}

/// Known attack: whoever has a domain that a policy names answers without end, so that other names are forgotten.
#[test]
fn a_flood_of_names_forgets_none_of_other_classes() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    decider
        .learn(&resolved("db.test", &["203.0.113.7"], 60), now)
        .unwrap();
    for number in 0..3000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let address = format!("192.0.{high}.{low}");
        let of = |domain| resolved(&format!("n{number}.{domain}"), &[&address], u32::MAX);
        decider.learn(&of("cdn.test"), now).unwrap();
        // Of these no rule is: they go first.
        decider.learn(&of("attack.test"), now).unwrap();
    }
    assert!(allows(&decider, "203.0.113.7", now));
    // The last of the flood itself are there.
    assert!(allows(&decider, "192.0.11.183", now) && !allows(&decider, "192.0.0.0", now));
    let names = decider.guests.get(&CLIENT).unwrap().names();
    assert!(names.len() <= MOST);
}

/// Known attack: so many guests hear of so many names that there is no memory for them.
#[test]
fn where_all_have_many_a_guest_hears_of_few_more() {
    let now = Instant::now();
    let decider = decider(RULES);
    let compiled = decider.guests.get(&CLIENT).unwrap().compiled().unwrap();
    let mut names = Names::default();
    let learn = |names: &mut Names, number: u8, of_all| {
        let one = resolved("n.cdn.test", &[&format!("192.0.2.{number}")], 300);
        names.learn(&one, &[], of_all, compiled, now).unwrap();
        names.len()
    };
    for number in 0..100 {
        let len = learn(&mut names, number, MANY);
        assert_eq!(len, FEW.min(usize::from(number) + 1));
    }
    for number in 100..200 {
        learn(&mut names, number, MANY - 1);
    }
    assert_eq!(names.len(), FEW + 100);
    // Nor does it lose what it has, but for as many as it hears of.
    for number in 200..250 {
        assert_eq!(learn(&mut names, number, MANY), FEW + 100);
    }
}

/// Known attack: whoever decides is made to be away, so that an address is reached which a name denies, or by a name that has ended.
#[test]
fn nothing_begins_by_a_name_while_nobody_can_decide() {
    let (mut decider, now) = (decider(RULES), Instant::now());
    decider
        .learn(&resolved("db.test", &["203.0.113.7"], 300), now)
        .unwrap();
    let epochs = decider.epochs();
    let of = epochs.iter().find(|one| one.guest == CLIENT).unwrap();
    let fallback = decider.fallback(*of).unwrap();
    for peer in ["203.0.113.7", "198.51.100.7"] {
        let flow = flow(Direction::Egress, peer, 443);
        assert!(!fallback.allowed.iter().any(|width| width.contains(&flow)));
    }
    // Where no rule denies by name, what an address may stands.
    let deny = "- { name: bad";
    let without: Vec<_> = RULES
        .lines()
        .filter(|line| !line.starts_with(deny))
        .collect();
    decider.rule(3, vec![policy(&without.join("\n"))]);
    let epochs = decider.epochs();
    let of = epochs.iter().find(|one| one.guest == CLIENT).unwrap();
    let fallback = decider.fallback(*of).unwrap();
    let outside = flow(Direction::Egress, "198.51.100.7", 443);
    let named = flow(Direction::Egress, "203.0.113.7", 443);
    assert!(
        fallback
            .allowed
            .iter()
            .any(|width| width.contains(&outside))
    );
    assert!(!fallback.allowed.iter().any(|width| width.contains(&named)));
}

fn any_peer() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "198.51.100.0",
        "198.51.100.7",
        "198.51.100.8",
        "203.0.113.7",
        "203.0.113.8",
        "10.0.0.1",
        "fd00::7",
        "fd00::8",
    ])
}

proptest! {
    /// What is cached for a flow is what would be decided of it, whatever names there are.
    #[test]
    fn whatever_a_width_contains_is_decided_alike(
        answers in prop::collection::vec((prop::sample::select(vec!["db.test", "a.cdn.test", "b.cdn.test", "x.bad.test", "other.test"]), any_peer(), 0..1000_u32), 0..8),
        one in any_peer(), other in any_peer(), later_s in 0..1000_u64,
    ) {
        let (mut decider, now) = (decider(RULES), Instant::now());
        for (name, address, ttl_s) in answers {
            decider.learn(&resolved(name, &[address], ttl_s), now).unwrap();
        }
        let verdict = decided(&decider, CLIENT, one, 0, now);
        prop_assert!(verdict.width.contains(&flow(Direction::Egress, one, 443)));
        let begins = verdict.begin_within_s.is_none_or(|within| later_s < within);
        if begins && verdict.width.contains(&flow(Direction::Egress, other, 443)) {
            let again = decided(&decider, CLIENT, other, 0, after(now, later_s));
            prop_assert_eq!((verdict.allowed, verdict.allowed_unavailable, verdict.reason), (again.allowed, again.allowed_unavailable, again.reason));
        }
    }
}
