//! Networks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::shown::shown;

/// A network in CIDR notation (RFC 4632, RFC 4291), or one address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// It is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoCidr {
    /// It is written otherwise.
    #[error("`{0}` is no network: write 10.0.0.0/8, 2001:db8::/32, or one address")]
    Malformed(String),
    /// The prefix is longer than an address.
    #[error("a prefix of {family} has {most} bits at most, `{text}` has more")]
    Prefix {
        /// What was written.
        text: String,
        /// IPv4 or IPv6.
        family: &'static str,
        /// Bits of an address.
        most: u8,
    },
    /// It names an address within the network, which may be a slip.
    #[error("`{text}` has bits set beyond its prefix; if the network is meant, write {network}")]
    HostBits {
        /// What was written.
        text: String,
        /// The network.
        network: Cidr,
    },
    /// An IPv4 address in IPv6's clothes.
    #[error("`{0}` is IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2); write it as IPv4")]
    Mapped(String),
}

impl Cidr {
    /// The first and the last address, as numbers.
    #[must_use]
    pub fn bounds(&self) -> (u128, u128) {
        let (first, bits) = match self.address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        (first, first | hosts(bits, self.prefix))
    }

    /// Whether its addresses are IPv4.
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let number = match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        let (first, last) = self.bounds();
        address.is_ipv4() == self.is_v4() && (first..=last).contains(&number)
    }
}

/// The bits beyond a prefix.
fn hosts(bits: u8, prefix: u8) -> u128 {
    let free = u32::from(bits.saturating_sub(prefix));
    u128::MAX.checked_shr(128 - free).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let malformed = || NoCidr::Malformed(shown(text));
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let (family, most) = match address {
            IpAddr::V4(_) => ("IPv4", 32),
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
                return Err(NoCidr::Mapped(shown(text)));
            }
            IpAddr::V6(_) => ("IPv6", 128),
        };
        let prefix = match prefix {
            None => most,
            Some(digits)
                if digits.len() <= 3 && digits.bytes().all(|digit| digit.is_ascii_digit()) =>
            {
                digits.parse().map_err(|_| malformed())?
            }
            Some(_) => return Err(malformed()),
        };
        if prefix > most {
            let text = shown(text);
            return Err(NoCidr::Prefix { text, family, most });
        }
        let masked = match address {
            IpAddr::V4(address) => {
                let hosts = u32::try_from(hosts(32, prefix)).unwrap_or(u32::MAX);
                IpAddr::V4((u32::from(address) & !hosts).into())
            }
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !hosts(128, prefix)).into()),
        };
        let network = Self {
            address: masked,
            prefix,
        };
        if masked == address {
            return Ok(network);
        }
        let text = shown(text);
        Err(NoCidr::HostBits { text, network })
    }
}

impl TryFrom<String> for Cidr {
    type Error = NoCidr;

    fn try_from(text: String) -> Result<Self, NoCidr> {
        text.parse()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl From<Cidr> for String {
    fn from(network: Cidr) -> Self {
        network.to_string()
    }
}
