//! What whoever is outside may say he is: as of guests, but that he has no addresses of which this host knows. So he may say
//! that he is nobody who is here, and nothing by which guests' routes or addresses change.

use std::net::IpAddr;

use super::{GATE, is_outside};
use crate::net::fabric::Stations;
use crate::net::frame::{Arp, Body, Frame, Ip, Mac, Neighbour, NeighbourKind, Transport};
use crate::net::guard::{NO_HOP, Spoof, check_posing};

/// Looks at what comes from outside to a segment on which these stations are.
pub(super) fn check_arrived(stations: &Stations, frame: &Frame) -> Result<(), Spoof> {
    let source = frame.source;
    let is_nobodys = source.is_group() || source == Mac::default() || source == GATE;
    if is_nobodys || stations.station(source).is_some() {
        return Err(Spoof::Mac);
    }
    match &frame.body {
        Body::Arp(arp) => check_arp(stations, frame, arp),
        Body::Ip(ip) => check_ip(stations, frame, ip),
    }
}

fn is_guests(stations: &Stations, address: impl Into<IpAddr>) -> bool {
    stations.is_guests(address.into())
}

fn check_arp(stations: &Stations, frame: &Frame, arp: &Arp) -> Result<(), Spoof> {
    let is_own = arp.sender == frame.source && !is_guests(stations, arp.sender_ip);
    if is_own { Ok(()) } else { Err(Spoof::Arp) }
}

fn check_ip(stations: &Stations, frame: &Frame, ip: &Ip) -> Result<(), Spoof> {
    if let Transport::Neighbour(message) = &ip.transport {
        return check_neighbour(stations, frame, ip, message);
    }
    check_posing(ip)?;
    if is_outside(ip.source) && !is_guests(stations, ip.source) {
        Ok(())
    } else {
        Err(Spoof::Address)
    }
}

fn check_neighbour(
    stations: &Stations,
    frame: &Frame,
    ip: &Ip,
    message: &Neighbour,
) -> Result<(), Spoof> {
    let is_from = !is_guests(stations, ip.source);
    let is_station_own = message.station.is_none_or(|told| told == frame.source);
    let is_near = is_from && is_station_own && ip.hops == NO_HOP;
    match message.kind {
        NeighbourKind::RouterAdvertisement | NeighbourKind::Redirect => Err(Spoof::Router),
        NeighbourKind::Membership if is_from => Ok(()),
        NeighbourKind::RouterSolicitation | NeighbourKind::Solicitation if is_near => Ok(()),
        NeighbourKind::Advertisement
            if is_near
                && message
                    .target
                    .is_some_and(|told| !is_guests(stations, told)) =>
        {
            Ok(())
        }
        _ => Err(Spoof::Neighbour),
    }
}
