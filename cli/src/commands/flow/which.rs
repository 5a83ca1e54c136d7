//! Which flows: filters, as people write them.

use std::str::FromStr;

use bartizan_attestation::operation::{FlowFilter, Network};
use clap::Args;

/// Names of protocols, and their numbers (IANA).
const PROTOCOLS: [(&str, u8); 4] = [("icmp", 1), ("tcp", 6), ("udp", 17), ("icmpv6", 58)];

/// Flows: all that is given must hold.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Which {
    /// Only of this protocol: tcp, udp, icmp, icmpv6 or a number.
    #[arg(long)]
    protocol: Option<Protocol>,
    /// Only those of which one end has this address, or one of this network.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Network>,
    /// Only those of which one end has this port, or one from the first to the last: 443, 8000-8099.
    #[arg(long)]
    port: Option<Ports>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Protocol(u8);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ports(u16, u16);

/// A word that is no protocol or no ports.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum WhichError {
    #[error("no protocol; write tcp, udp, icmp, icmpv6 or a number up to 255")]
    Protocol,
    #[error("no port and no ports; write 443 or 8000-8099")]
    Ports,
}

impl Which {
    pub(super) fn filter(&self) -> FlowFilter {
        FlowFilter {
            protocol: self.protocol.map(|Protocol(number)| number),
            network: self.address,
            ports: self.port.map(|Ports(first, last)| (first, last)),
        }
    }
}

/// The name of a protocol, or its number.
pub(super) fn name(protocol: u8) -> String {
    let known = PROTOCOLS.iter().find(|(_, number)| *number == protocol);
    known.map_or_else(|| protocol.to_string(), |(name, _)| (*name).to_owned())
}

impl FromStr for Protocol {
    type Err = WhichError;

    fn from_str(text: &str) -> Result<Self, WhichError> {
        let known = PROTOCOLS.iter().find(|(name, _)| *name == text);
        let number = known.map(|(_, number)| *number);
        let number = number.or_else(|| text.parse().ok());
        number.map(Self).ok_or(WhichError::Protocol)
    }
}

impl FromStr for Ports {
    type Err = WhichError;

    fn from_str(text: &str) -> Result<Self, WhichError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first, last)),
            _ => Err(WhichError::Ports),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_numbers() {
        assert_eq!("tcp".parse(), Ok(Protocol(6)));
        assert_eq!("132".parse(), Ok(Protocol(132)));
        assert_eq!("443".parse(), Ok(Ports(443, 443)));
        assert_eq!("0-65535".parse(), Ok(Ports(0, 65535)));
        assert_eq!((name(17), name(132)), ("udp".into(), "132".into()));
        for text in ["", "TCP", "256", "-1"] {
            assert_eq!(text.parse::<Protocol>(), Err(WhichError::Protocol));
        }
        for text in ["", "9-8", "-", "65536", "1-2-3", "http"] {
            assert_eq!(text.parse::<Ports>(), Err(WhichError::Ports));
        }
    }
}
