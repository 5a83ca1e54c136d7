//! DNS answers, which wait until they are noted.

use bartizan_local::flow::{FromDevices, Noted, Resolved, Resolvers, ToDevices};

use super::decider::Decider;
use super::dns::{A, ASKED, answer, at, is, name, query};
use super::guest::{NetGuest, boot};
use crate::daemon::Daemon;

#[test]
fn an_answer_arrives_once_its_names_are_known_and_no_forged_one_is_told() {
    let daemon = Daemon::start();
    let decider = Decider::new(&daemon);
    let mut client = NetGuest::attached(41, &daemon);
    let mut server = NetGuest::attached(42, &daemon);
    let (of_client, of_server) = (client.station(), server.station());
    decider.say(&ToDevices::Resolvers(Resolvers {
        guest: boot(41),
        servers: vec![of_server.v4.into()],
    }));
    decider.wait_until_heard();
    let ports = (40_000, 53);
    let sent = client.send_udp(of_server, ports, &query(7, "db.test", A));
    decider.decide(boot(41), true);
    decider.decide(boot(42), true);
    assert_eq!(server.receive(), sent);
    // Known attack: of another id. It is the client's to see that.
    let forged = answer(8, "db.test", A, &[at(&ASKED, 60, "10.77.0.66")]);
    let forged = server.send_udp(of_client, (53, 40_000), &forged);
    assert_eq!(client.receive(), forged);
    let records = [
        is("db.test", 300, "a.test"),
        at(&name("a.test"), 60, "10.77.0.43"),
    ];
    let said = answer(7, "db.test", A, &records);
    let said = server.send_udp(of_client, (53, 40_000), &said);
    let FromDevices::Resolved(resolved) = decider.hear() else {
        panic!("the answer is not told");
    };
    let expected = Resolved {
        number: resolved.number,
        guest: boot(41),
        resolver: of_server.v4.into(),
        name: "db.test".into(),
        addresses: vec![[10, 77, 0, 43].into()],
        ttl_s: 60,
        since_s: 0,
        guests: Vec::new(),
    };
    assert_eq!(resolved, expected);
    client.expect_silence(of_server);
    decider.say(&ToDevices::Noted(Noted {
        number: resolved.number,
        guest: boot(41),
        anew: true,
    }));
    assert_eq!(client.receive(), said);
}
