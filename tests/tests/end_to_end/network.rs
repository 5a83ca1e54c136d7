//! Two guests of one host in a network: every flow of theirs is decided by the enclave, by policies that their author signed.

mod attacks;
mod clients;
mod flows;
mod hangs;
mod isolation;
mod killed;
mod names;
mod open;
mod outside;
mod remembered;
mod stated;
mod untrusted;

use anyhow::{Result, ensure};
use bartizan_tests::network::{self, CLIENT, Kept, Patience, WEB, pages_only};
use bartizan_tests::stack::{Guest, Stack};
use serde_json::{Value, json};

use crate::Case;
use crate::world::World;

pub(crate) const CASES: &[Case] = &[
    ("network::nothing_passes_without_a_policy", nothing),
    ("network::a_policy_lets_pass_what_it_allows", allowed),
    ("network::a_policy_cuts_what_was_established", cut),
    (
        "network::a_name_counts_once_its_server_has_said_so",
        names::believed,
    ),
    ("network::what_a_guest_is_not_does_not_pass", spoofed),
    ("network::attacks_from_inside_a_guest", attacks::all),
    ("network::a_scan_finds_the_policys_ports", clients::scan),
    ("network::real_clients_pass", clients::all),
    ("network::path_mtu_is_discovered", clients::path_mtu),
    (
        "network::ten_thousand_open_flows_follow_a_new_policy",
        open::all_follow,
    ),
    ("network::flows_are_seen_and_captured", flows::seen),
    (
        "network::guests_and_the_outside_reach_one_another",
        outside::both_ways,
    ),
    ("network::isolated_by_one_order", isolation::one_order),
    (
        "network::a_guest_that_turns_untrusted_is_cut",
        untrusted::is_cut,
    ),
    (
        "network::while_the_enclave_is_away_rules_say_what_goes_on",
        killed::enclave_is_away,
    ),
    (
        "network::while_the_enclaves_link_is_silent_rules_say_what_goes_on",
        hangs::link_is_silent,
    ),
    (
        "network::the_enclaves_machine_that_hangs_is_started_anew",
        hangs::machine_stands_still,
    ),
    ("network::each_that_is_killed_is_back", killed::each_is_back),
    (
        "network::the_last_set_rules_while_the_verifier_is_away",
        remembered::without_verifier,
    ),
    (
        "network::what_the_enclave_states_outlasts_restarts",
        stated::outlasts_restarts,
    ),
    ("network::an_older_state_is_none", remembered::older_state),
];

/// A web server and a client of it.
pub(crate) struct Networked<'w> {
    pub(crate) web: &'w mut Guest,
    pub(crate) client: &'w mut Guest,
    pub(crate) stack: &'w mut Stack,
    pub(crate) serial: &'w mut u64,
}

impl Networked<'_> {
    /// Has these rules decide from now on; returns when they are in force.
    pub(crate) fn apply(&mut self, rules: &Value) -> Result<()> {
        *self.serial += 1;
        self.stack.apply(*self.serial, rules)
    }

    /// The same, of guests that are selected so.
    pub(crate) fn apply_to(&mut self, select: &Value, rules: &Value) -> Result<()> {
        *self.serial += 1;
        self.stack.apply_to(*self.serial, select, rules)
    }

    /// Whether the server answers the client's echo within two seconds.
    pub(crate) fn echo(&mut self) -> Result<bool> {
        network::echo(self.client)
    }

    /// Whether the client gets the server's page within this many seconds.
    pub(crate) fn page(&mut self, seconds: u32) -> Result<bool> {
        network::page(self.client, seconds)
    }
}

fn nothing(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    ensure!(!networked.page(5)?, "a page without any policy");
    ensure!(!networked.echo()?, "an echo without any policy");
    Ok(())
}

fn allowed(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&pages_only())?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    // The same the other way round, and by another port, no rule allows.
    let other = |from: &mut Guest, to: &str, port: u16| {
        from.agent
            .run(&format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{to}/{port}'"))
    };
    let back = other(networked.web, CLIENT, 80)?;
    ensure!(back.code != Some(0), "the server asks its client: {back:?}");
    let port = other(networked.client, WEB, 81)?;
    // A refusal by the server would come at once: it has heard of it then.
    ensure!(
        port.code == Some(124),
        "another port than the rule's: {port:?}"
    );
    Ok(())
}

fn cut(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&pages_only())?;
    let kept = Kept::open(networked.client, Patience { seconds: 5 })?;
    // Everything that was allowed is not any more, whatever was established by it.
    networked.apply(&json!([]))?;
    let then = kept.answers(networked.client)?;
    // What had been answered by then may be told of late, once.
    networked.client.agent.must("sleep 3")?;
    let later = kept.answers(networked.client)?;
    ensure!(later <= then + 1, "answered on: {then}, then {later}");
    kept.close(networked.client)?;
    ensure!(!networked.page(5)?, "a page, which nothing allows any more");
    networked.apply(&pages_only())?;
    ensure!(networked.page(20)?, "no page, which a rule allows again");
    Ok(())
}

/// Known attack: a guest that takes another's addresses, in its packets or in ARP.
fn spoofed(world: &mut World) -> Result<()> {
    let mut networked = world.networked()?;
    networked.apply(&json!([{ "name": "all", "effect": "allow", "network": {} }]))?;
    ensure!(networked.page(20)?, "no page, which a rule allows");
    let client = &mut networked.client.agent;
    client.must("ip address add 10.77.0.9/24 dev eth0")?;
    let other = client.run(&format!(
        "ip route add {WEB}/32 dev eth0 src 10.77.0.9 && timeout 5 bash -c 'exec 3<>/dev/tcp/{WEB}/80'"
    ))?;
    client.must(&format!(
        "ip route del {WEB}/32 dev eth0; ip address del 10.77.0.9/24 dev eth0"
    ))?;
    ensure!(
        other.code == Some(124),
        "by an address that is not its own: {other:?}"
    );
    // Those of IPv6 would be gone with the link.
    client.must("echo 1 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down")?;
    let mac = client.must("cat /sys/class/net/eth0/address")?;
    let mac = mac.trim();
    client.must(
        "ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:99; ip link set eth0 up",
    )?;
    let reached = networked.page(5)?;
    let back =
        format!("ip link set eth0 down; ip link set eth0 address {mac}; ip link set eth0 up");
    networked.client.agent.must(&back)?;
    ensure!(!reached, "by a MAC that is not its own");
    ensure!(networked.page(20)?, "no page, with its own addresses again");
    Ok(())
}
