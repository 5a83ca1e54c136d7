//! Which devices may be attached, by the daemon's word.
//!
//! Known attack: a supervisor that its QEMU took over attaches a device under another guest's CID, or one that reaches the
//! other guest's API, takes that guest's launch secret and enrols a key as that guest. So a supervisor does not say what its
//! device is: it has a ticket for the one that the daemon admitted. And a device lives no longer than its admission,
//! whoever was handed its connections meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bartizan_local::admission::{Admission, Interface, Ticket};
use bartizan_local::attachment::DeviceKind;

use super::dismissals::Dismissals;
use crate::decisions::Decisions;
use crate::link::Link;
use crate::net::{self, Fabric, InterfaceError};
use crate::vsock::{Services, ServicesError};

/// The first context id that a guest may have (virtio 1.2 section 5.10.4).
const FIRST_CID: u32 = 3;

/// What is admitted, by CID.
pub(super) struct Admissions {
    limit: usize,
    told: Mutex<Told>,
    /// What is not admitted any more and still ends.
    pub(super) dismissals: Dismissals,
    decisions: Arc<Decisions>,
    fabric: Arc<Fabric>,
}

/// Which of the daemon's links it is, in the order in which they were accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct LinkNumber(u64);

impl LinkNumber {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What the daemon has said.
#[derive(Default)]
struct Told {
    /// The latest of the links by which it has.
    by: LinkNumber,
    by_cid: BTreeMap<u32, Admitted>,
}

struct Admitted {
    ticket: Ticket,
    services: Services,
    network: Option<Interface>,
    /// Whether its guest ran before it was admitted here.
    ran: bool,
    /// The vsock device, as long as it serves.
    vsock: Weak<Link>,
    /// Likewise the network device.
    net: Weak<Link>,
}

/// What a device that is attached is.
pub(super) enum Permit {
    /// A vsock device that reaches these.
    Vsock(Services),
    /// A network device, and whether its guest ran before this process knew it.
    Network(Interface, bool),
}

/// A device is not admitted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum AdmissionError {
    /// Not a guest's context id.
    #[error("{0} is not a guest's CID; choose 3 to 4294967294")]
    BadCid(u32),
    /// The services cannot be served.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// The network device cannot be.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Two guests of one address.
    #[error("another guest on segment `{0}` has that MAC or IP address")]
    AddressTaken(String),
    /// Two devices by one ticket.
    #[error("CID {0} has that ticket; make another one")]
    TicketTaken(u32),
    /// Too many devices.
    #[error("{0} devices are admitted, which is the limit; retain fewer first")]
    Full(usize),
    /// What it says is out of date.
    #[error("the daemon has spoken by a later connection; use that one")]
    Superseded,
}

impl Told {
    fn networks(&self) -> impl Iterator<Item = &Interface> {
        self.by_cid.values().filter_map(|one| one.network.as_ref())
    }
}

impl Admissions {
    pub(super) fn new(limit: usize, decisions: Arc<Decisions>, fabric: Arc<Fabric>) -> Self {
        Self {
            limit,
            told: Mutex::default(),
            dismissals: Dismissals::default(),
            decisions,
            fabric,
        }
    }

    /// Admits a device in the place of what was admitted under its CID; the same one once more goes on serving.
    pub(super) fn admit(
        &self,
        link: LinkNumber,
        admission: &Admission,
    ) -> Result<(), AdmissionError> {
        let mut told = self.told_by(link)?;
        let by_cid = &mut told.by_cid;
        let Admission {
            ticket,
            cid,
            services,
            network,
            runs,
        } = admission;
        if *cid < FIRST_CID || *cid == u32::MAX {
            return Err(AdmissionError::BadCid(*cid));
        }
        let services = Services::new(services)?;
        let taken = |(of, admitted): (&u32, &Admitted)| of != cid && admitted.ticket == *ticket;
        if by_cid.iter().any(taken) {
            return Err(AdmissionError::TicketTaken(*cid));
        }
        if let Some(interface) = network {
            net::check(interface)?;
            let clashes = |(of, admitted): (&u32, &Admitted)| {
                let other = admitted.network.as_ref();
                of != cid && other.is_some_and(|other| net::clash(interface, other))
            };
            if by_cid.iter().any(clashes) {
                return Err(AdmissionError::AddressTaken(interface.segment.clone()));
            }
        }
        let former = by_cid.remove(cid);
        if by_cid.len() >= self.limit {
            return Err(AdmissionError::Full(self.limit));
        }
        let mut admitted = Admitted {
            ticket: *ticket,
            services,
            network: network.clone(),
            ran: *runs,
            vsock: Weak::new(),
            net: Weak::new(),
        };
        match former {
            Some(same) if same.ticket == *ticket => {
                admitted.ran = same.ran;
                admitted.vsock = same.vsock;
                if same.network == admitted.network {
                    admitted.net = same.net;
                } else {
                    self.dismissals.dismiss(*cid, &same.net);
                }
            }
            Some(former) => self.dismiss(*cid, &former),
            None => {}
        }
        by_cid.insert(*cid, admitted);
        self.fabric.expect(told.networks());
        if let Some(interface) = network {
            self.decisions.admit(interface.guest);
        }
        Ok(())
    }

    /// Forgets all that was not admitted by one of these tickets, and ends its devices.
    pub(super) fn retain(
        &self,
        link: LinkNumber,
        tickets: &[Ticket],
    ) -> Result<(), AdmissionError> {
        let mut told = self.told_by(link)?;
        told.by_cid.retain(|cid, admitted| {
            let stays = tickets.contains(&admitted.ticket);
            if !stays {
                self.dismiss(*cid, admitted);
                tracing::info!(cid, "not admitted any more");
            }
            stays
        });
        self.fabric.expect(told.networks());
        let guests: Vec<_> = told.networks().map(|network| network.guest).collect();
        drop(told);
        self.decisions.retain(&guests);
        Ok(())
    }

    /// Whose device a ticket is for.
    pub(super) fn cid(&self, ticket: &Ticket) -> Option<u32> {
        let told = self.lock();
        let mut all = told.by_cid.iter();
        all.find_map(|(cid, admitted)| (admitted.ticket == *ticket).then_some(*cid))
    }

    /// What the device that `link` attached is, if its ticket is still good for it; from now on it ends with its
    /// admission. To be called by whoever holds the ticket's place in the roster.
    pub(super) fn attach(
        &self,
        cid: u32,
        ticket: &Ticket,
        device: DeviceKind,
        link: &Arc<Link>,
    ) -> Option<Permit> {
        let mut told = self.lock();
        let admitted = told.by_cid.get_mut(&cid)?;
        if admitted.ticket != *ticket {
            return None;
        }
        match device {
            DeviceKind::Vsock => {
                admitted.vsock = Arc::downgrade(link);
                Some(Permit::Vsock(admitted.services.clone()))
            }
            DeviceKind::Network => {
                let interface = admitted.network.clone()?;
                admitted.net = Arc::downgrade(link);
                Some(Permit::Network(interface, admitted.ran))
            }
        }
    }

    fn dismiss(&self, cid: u32, admitted: &Admitted) {
        self.dismissals.dismiss(cid, &admitted.vsock);
        self.dismissals.dismiss(cid, &admitted.net);
    }

    /// For what the daemon says by that link.
    ///
    /// What a daemon had sent when it was killed may be read after its successor has spoken, and would end the devices of
    /// guests that have been started since, for ever. A link by which nothing was said supersedes none.
    fn told_by(&self, link: LinkNumber) -> Result<MutexGuard<'_, Told>, AdmissionError> {
        let mut told = self.lock();
        if link < told.by {
            return Err(AdmissionError::Superseded);
        }
        told.by = link;
        Ok(told)
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const LINK: LinkNumber = LinkNumber(1);

    fn admissions_of(limit: usize) -> Admissions {
        Admissions::new(limit, Decisions::new(), Arc::default())
    }

    fn admission(byte: u8, cid: u32) -> Admission {
        Admission {
            ticket: ticket(byte),
            cid,
            services: Vec::new(),
            network: None,
            runs: false,
        }
    }

    fn ticket(byte: u8) -> Ticket {
        Ticket::new([byte; 32])
    }

    /// A device's link, and the supervisor's end of it.
    fn link() -> (Arc<Link>, UnixStream) {
        let (device, supervisor) = UnixStream::pair().unwrap();
        supervisor.set_nonblocking(true).unwrap();
        (Arc::new(Link::new(device)), supervisor)
    }

    fn attached(admissions: &Admissions, byte: u8) -> (Arc<Link>, UnixStream) {
        let (link, end) = link();
        let cid = admissions.cid(&ticket(byte)).unwrap();
        let permit = admissions.attach(cid, &ticket(byte), DeviceKind::Vsock, &link);
        assert!(matches!(permit, Some(Permit::Vsock(_))));
        (link, end)
    }

    /// Whether nothing that is sent comes to the device any more.
    fn has_ended(mut end: &UnixStream) -> bool {
        end.write(&[0]).is_err()
    }

    #[test]
    fn a_ticket_is_for_one_cid_and_unknown_ones_are_for_none() {
        let admissions = admissions_of(8);
        admissions.admit(LINK, &admission(1, 3)).unwrap();
        admissions.admit(LINK, &admission(2, 4)).unwrap();
        assert_eq!(admissions.cid(&ticket(1)), Some(3));
        assert_eq!(admissions.cid(&ticket(2)), Some(4));
        assert_eq!(admissions.cid(&ticket(0)), None);
        let again = admissions.admit(LINK, &admission(1, 5));
        assert_eq!(again, Err(AdmissionError::TicketTaken(5)));
        let (link, _end) = link();
        let other = admissions.attach(4, &ticket(1), DeviceKind::Vsock, &link);
        assert!(other.is_none());
    }

    #[test]
    fn only_guests_cids_are_admitted_and_no_more_than_there_are_places() {
        let admissions = admissions_of(2);
        for cid in [0, 2, u32::MAX] {
            let refused = admissions.admit(LINK, &admission(1, cid));
            assert_eq!(refused, Err(AdmissionError::BadCid(cid)));
        }
        admissions.admit(LINK, &admission(1, 3)).unwrap();
        admissions.admit(LINK, &admission(2, 4)).unwrap();
        let full = admissions.admit(LINK, &admission(3, 5));
        assert_eq!(full, Err(AdmissionError::Full(2)));
        // One more of a CID takes no further place.
        admissions.admit(LINK, &admission(3, 4)).unwrap();
        assert_eq!(admissions.cid(&ticket(2)), None);
        admissions.retain(LINK, &[ticket(3)]).unwrap();
        assert_eq!(admissions.cid(&ticket(1)), None);
        admissions.admit(LINK, &admission(4, 5)).unwrap();
    }

    /// Known attack: a boot's device outlives it in the hands of another supervisor, and reaches the next boot's API.
    #[test]
    fn a_device_ends_with_its_admission_and_not_before() {
        let admissions = admissions_of(8);
        admissions.admit(LINK, &admission(1, 3)).unwrap();
        admissions.admit(LINK, &admission(2, 4)).unwrap();
        let (_replaced, replaced) = attached(&admissions, 1);
        let (_kept, kept) = attached(&admissions, 2);
        // The daemon admits all anew when it comes back.
        admissions.admit(LINK, &admission(1, 3)).unwrap();
        assert!(!has_ended(&replaced));
        admissions.admit(LINK, &admission(5, 3)).unwrap();
        assert!(has_ended(&replaced) && !has_ended(&kept));
        admissions.retain(LINK, &[ticket(5), ticket(2)]).unwrap();
        assert!(!has_ended(&kept));
        admissions.retain(LINK, &[ticket(5)]).unwrap();
        assert!(has_ended(&kept));
    }

    /// What a daemon that was killed had sent is read after its successor has admitted a guest.
    #[test]
    fn a_link_has_no_say_once_a_later_one_has_been_spoken_by() {
        let admissions = admissions_of(8);
        admissions.admit(LINK, &admission(1, 3)).unwrap();
        let later = LINK.next();
        admissions.admit(later, &admission(2, 4)).unwrap();
        let (_kept, kept) = attached(&admissions, 2);
        let superseded = Err(AdmissionError::Superseded);
        assert_eq!(admissions.retain(LINK, &[ticket(1)]), superseded);
        assert_eq!(admissions.admit(LINK, &admission(3, 4)), superseded);
        assert_eq!(admissions.admit(LINK, &admission(4, 5)), superseded);
        assert_eq!(admissions.cid(&ticket(4)), None);
        assert!(!has_ended(&kept));
        admissions.retain(later, &[ticket(2)]).unwrap();
        assert_eq!(admissions.cid(&ticket(1)), None);
        assert!(!has_ended(&kept));
    }
}
