//! How an uplink is configured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bartizan_local::flow::MAX_RESOLVERS;
use serde::{Deserialize, Deserializer, de};

use super::is_outside;
use crate::net::frame::Mac;

/// Longest name of a network device (linux/if.h, IFNAMSIZ).
const MAX_NAME: usize = 15;

/// A segment's uplink, as the configuration has it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The segment.
    pub segment: String,
    /// Name of a TAP device of this host that is there before the daemon is, and that the daemon's user owns.
    pub tap: String,
    /// Where IPv4 packets to other networks go. Guests whose launch records name none are told of it by DHCP.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// Where IPv6 packets to other networks go.
    #[serde(default)]
    pub gateway_v6: Option<Ipv6Addr>,
    /// The gateway's Ethernet address; it is asked for by default.
    #[serde(default, deserialize_with = "mac")]
    pub gateway_mac: Option<Mac>,
    /// DNS servers outside whose answers give addresses names, where policies name them; none by default. Whoever can send packets here
    /// in the name of one of these can have any address take any name: this is for those to which the way is guarded.
    #[serde(default)]
    pub resolvers: Vec<IpAddr>,
}

/// An uplink cannot be so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingsError {
    /// The segment has no name that a segment can have.
    #[error("`segment` is not 1 to 63 of a-z, 0-9, `-`")]
    Segment,
    /// No network device has such a name.
    #[error("`tap` is not 1 to {MAX_NAME} of a-z, A-Z, 0-9, `-`, `_`, `.`")]
    Tap,
    /// A gateway's address is of no one host outside.
    #[error("`gateway` and `gateway_v6` are addresses of one host outside")]
    Gateway,
    /// A DNS server's address is of no one host outside, or there are too many.
    #[error("`resolvers` are the addresses of {MAX_RESOLVERS} hosts outside at most")]
    Resolvers,
    /// A gateway's Ethernet address is of no one station, or of no gateway.
    #[error("`gateway_mac` is the address of one station, and there is a gateway")]
    GatewayMac,
}

impl Settings {
    /// The gateways of either version.
    pub(super) fn gateways(&self) -> [Option<IpAddr>; 2] {
        [
            self.gateway.map(IpAddr::V4),
            self.gateway_v6.map(IpAddr::V6),
        ]
    }

    /// Looks at what was configured.
    pub fn check(&self) -> Result<(), SettingsError> {
        if !crate::net::interface::is_segment(&self.segment) {
            return Err(SettingsError::Segment);
        }
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_name = (1..=MAX_NAME).contains(&self.tap.len()) && self.tap.bytes().all(is_plain);
        if !is_name || matches!(self.tap.as_str(), "." | "..") {
            return Err(SettingsError::Tap);
        }
        let mut gateways = self.gateways().into_iter().flatten();
        if !gateways.all(is_outside) {
            return Err(SettingsError::Gateway);
        }
        let resolvers = &self.resolvers;
        let are_outside = resolvers.iter().all(|server| is_outside(*server));
        if resolvers.len() > MAX_RESOLVERS || !are_outside {
            return Err(SettingsError::Resolvers);
        }
        let has_gateway = self.gateways().iter().any(Option::is_some);
        let is_station = |mac: Mac| !mac.is_group() && mac != Mac::default() && mac != super::GATE;
        if !self
            .gateway_mac
            .is_none_or(|mac| has_gateway && is_station(mac))
        {
            return Err(SettingsError::GatewayMac);
        }
        Ok(())
    }
}

/// Six bytes in hexadecimal, with colons.
fn mac<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Mac>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| match byte.as_bytes() {
            // Not `+2`, which is a number as well.
            [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                u8::from_str_radix(byte, 16).ok()
            }
            _ => None,
        })
        .collect();
    let mac = bytes.and_then(|bytes| bytes.try_into().ok()).map(Mac);
    mac.map(Some)
        .ok_or_else(|| de::Error::custom("an Ethernet address is six bytes like 02:00:00:00:00:01"))
}
