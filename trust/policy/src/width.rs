//! How wide a decision on a flow is, for whoever caches it by what packets show.

use std::net::IpAddr;

use crate::document::Direction;
use crate::index::{Depended, Extent, Field};
use crate::request::{Flow, Operation, Process, Request};

/// Flows of which the same was decided: all that is given must hold.
///
/// Holds for flows as [`Flow`] describes them: whether a flow has a port or an ICMP type follows from its protocol, and which guest and names the other
/// end has from its address. When those of an address change, what was decided before does not hold any more.
///
/// ```text
///   the rules looked at        the width's peers
///   the address                as far as no rule speaks of another network
///   who has the address        of those, as far as whoever has them is alike
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FlowWidth {
    /// Who begins them; none: either.
    pub direction: Option<Direction>,
    /// Their protocol; none: any.
    pub protocol: Option<u8>,
    /// The other end, from the first address to the last, both of one family; none: any.
    pub peers: Option<(IpAddr, IpAddr)>,
    /// The ports, from the first to the last; none: any, and none.
    pub ports: Option<(u16, u16)>,
    /// The types of ICMP messages, from the first to the last; none: any, and none.
    pub icmp_types: Option<(u8, u8)>,
}

impl FlowWidth {
    /// Of a decision on a request, by the fields that it depended on. None where it must not be cached by flow: the request is about none, or
    /// the decision depended on what is known of a process.
    #[must_use]
    pub fn of(request: &Request<'_>, depended: &[Depended]) -> Option<Self> {
        let Operation::Network(flow) = &request.operation else {
            return None;
        };
        Self::of_alike(request, depended, (flow.address, flow.address))
    }

    /// The same where it is known how far others are like the other end: `alike` are addresses around it, the first and the last, at which
    /// the same guest and names are known, or likewise that there are none.
    #[must_use]
    pub fn of_alike(
        request: &Request<'_>,
        depended: &[Depended],
        alike: (IpAddr, IpAddr),
    ) -> Option<Self> {
        let Operation::Network(flow) = &request.operation else {
            return None;
        };
        let mut width = Self::default();
        let mut by_whose = false;
        for Depended { field, extent } in depended {
            match field {
                Field::Direction => width.direction = Some(flow.direction),
                Field::Protocol => width.protocol = Some(flow.protocol),
                Field::Address => width.peers = Some(addresses(flow.address, *extent)),
                Field::Port => match flow.port {
                    Some(port) => width.ports = Some(numbers(port, *extent)),
                    None => width.protocol = Some(flow.protocol),
                },
                Field::IcmpType => match flow.icmp_type {
                    Some(one) => width.icmp_types = Some(numbers(one, *extent)),
                    None => width.protocol = Some(flow.protocol),
                },
                Field::PeerRole | Field::PeerLabel(_) | Field::PeerNames => by_whose = true,
                Field::Executable | Field::ExecutableSha256 | Field::Uid => {
                    if is_known(&request.process, field) {
                        return None;
                    }
                }
                Field::Program
                | Field::ProgramSha256
                | Field::Path
                | Field::Access
                | Field::Call
                | Field::Argument(..) => return None,
            }
        }
        if by_whose {
            // Of one family, or the whole of it is not alike.
            let (first, last) = match alike {
                (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => alike,
                _ => (flow.address, flow.address),
            };
            let within = width.peers.unwrap_or((first, last));
            width.peers = Some((within.0.max(first), within.1.min(last)));
        }
        Some(width)
    }

    /// Whether a flow is one of them.
    #[must_use]
    pub fn contains(&self, flow: &Flow<'_>) -> bool {
        fn within<T: PartialOrd>(range: Option<(T, T)>, one: Option<T>) -> bool {
            range.is_none_or(|(first, last)| one.is_some_and(|one| (first..=last).contains(&one)))
        }
        let same_family = |first: IpAddr| first.is_ipv4() == flow.address.is_ipv4();
        self.direction.is_none_or(|one| one == flow.direction)
            && self.protocol.is_none_or(|one| one == flow.protocol)
            && self.peers.is_none_or(|(first, _)| same_family(first))
            && within(self.peers, Some(flow.address))
            && within(self.ports, flow.port)
            && within(self.icmp_types, flow.icmp_type)
    }
}

fn is_known(process: &Process<'_>, field: &Field) -> bool {
    match field {
        Field::Executable => process.executable.is_some(),
        Field::ExecutableSha256 => process.sha256.is_some(),
        _ => process.uid.is_some(),
    }
}

fn numbers<T: Bounded>(one: T, extent: Extent) -> (T, T) {
    match extent {
        Extent::Exactly => (one, one),
        Extent::Numbers { first, last } => (
            T::try_from(first).unwrap_or(one),
            // The last range goes on beyond what there is.
            T::try_from(last).unwrap_or(T::LAST),
        ),
    }
}

/// Numbers that end.
trait Bounded: Copy + TryFrom<u128> {
    const LAST: Self;
}

impl Bounded for u8 {
    const LAST: Self = Self::MAX;
}
impl Bounded for u16 {
    const LAST: Self = Self::MAX;
}
impl Bounded for u32 {
    const LAST: Self = Self::MAX;
}
impl Bounded for u128 {
    const LAST: Self = Self::MAX;
}

fn addresses(address: IpAddr, extent: Extent) -> (IpAddr, IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let (first, last) = numbers(u32::from(address), extent);
            (IpAddr::V4(first.into()), IpAddr::V4(last.into()))
        }
        IpAddr::V6(address) => {
            let (first, last) = numbers(u128::from(address), extent);
            (IpAddr::V6(first.into()), IpAddr::V6(last.into()))
        }
    }
}
