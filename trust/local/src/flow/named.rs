//! What is said of DNS answers: devices match them with what guests asked, and who decides believes them or not.

use std::net::IpAddr;

use minicbor::{Decode, Encode};

use super::Guest;

/// Most addresses of one answer: one that has more is not looked at.
pub const MAX_NAMED: usize = 64;

/// Most servers of one guest: what others answer is not looked at.
pub const MAX_RESOLVERS: usize = 64;

/// An answer for a guest, whole and from whom it asked: that, and nothing else, is the devices' word.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Resolved {
    /// Of this link: no other has it.
    #[n(0)]
    pub number: u64,
    /// Who asked.
    #[n(1)]
    pub guest: Guest,
    /// Whom.
    #[n(2)]
    pub resolver: IpAddr,
    /// The name that it asked about, in lower case, without a dot at its end.
    #[n(3)]
    pub name: String,
    /// The addresses of that name, or of the one that it is another name for; [`MAX_NAMED`] at most.
    #[n(4)]
    pub addresses: Vec<IpAddr>,
    /// For how many seconds all that leads to them is said to hold.
    #[n(5)]
    pub ttl_s: u32,
    /// For how many seconds the guest has had it: 0 of one that has just come, and waits.
    #[n(6)]
    pub since_s: u64,
    /// Those of the addresses that were guests' of the segment when it came.
    #[n(7)]
    pub guests: Vec<IpAddr>,
}

/// The servers whose answers to a guest are looked at, in the place of those before; before they are told, none are.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Resolvers {
    /// Whose.
    #[n(0)]
    pub guest: Guest,
    /// Their addresses; [`MAX_RESOLVERS`] at most.
    #[n(1)]
    pub servers: Vec<IpAddr>,
}

/// What an answer says is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Noted {
    /// The number of the answer.
    #[n(0)]
    pub number: u64,
    /// Its guest.
    #[n(1)]
    pub guest: Guest,
    /// Whether what was decided of its addresses before is to be asked about again.
    #[n(2)]
    pub anew: bool,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::flow::{FromDevices, MAX_FRAME, ToDevices};
    use crate::{decode, encode};

    const GUEST: Guest = Guest {
        vm: [0xff; 16],
        boot: u64::MAX,
    };

    /// The longest name, and as many addresses as there may be.
    #[test]
    fn the_longest_answer_fits_into_a_frame_and_is_read_as_written() {
        let address = IpAddr::V6(Ipv6Addr::from(u128::MAX));
        let resolved = FromDevices::Resolved(Resolved {
            number: u64::MAX,
            guest: GUEST,
            resolver: address,
            name: "a".repeat(253),
            addresses: vec![address; MAX_NAMED],
            ttl_s: u32::MAX,
            since_s: u64::MAX,
            guests: vec![IpAddr::V6(Ipv6Addr::LOCALHOST)],
        });
        let bytes = encode(&resolved);
        assert!(bytes.len() <= MAX_FRAME);
        assert_eq!(decode::<FromDevices>(&bytes).unwrap(), resolved);
    }

    #[test]
    fn as_many_servers_as_there_may_be_fit_into_a_frame() {
        let address = IpAddr::V6(Ipv6Addr::from(u128::MAX));
        let resolvers = ToDevices::Resolvers(Resolvers {
            guest: GUEST,
            servers: vec![address; MAX_RESOLVERS],
        });
        let bytes = encode(&resolvers);
        assert!(bytes.len() <= MAX_FRAME);
        assert_eq!(decode::<ToDevices>(&bytes).unwrap(), resolvers);
        let noted = ToDevices::Noted(Noted {
            number: 8,
            guest: GUEST,
            anew: true,
        });
        assert_eq!(decode::<ToDevices>(&encode(&noted)).unwrap(), noted);
    }
}
