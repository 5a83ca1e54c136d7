//! Requests that have nothing in common but what a decision depended on.

use std::net::IpAddr;

use bartizan_policy::{Depended, Extent, Field, Request};

use super::requests::{Doing, Owned, OwnedFlow, OwnedGuest};

impl Owned {
    /// The other one, with as little as must be of this one for it to have the same in all of these fields: numbers are, where that will
    /// do, at the `low` or the high end of how far they may differ. None where the two are of different kinds.
    #[must_use]
    pub fn mixed(&self, other: &Self, depended: &[Depended], low: bool) -> Option<Self> {
        let mut mixed = Self {
            doing: match std::mem::discriminant(&self.doing) == std::mem::discriminant(&other.doing)
            {
                true => other.doing.clone(),
                false => return None,
            },
            process: other.process.clone(),
        };
        for one in depended {
            if !self.is_same(&mixed, one) {
                mixed.take(&one.field, self);
            }
            if let Extent::Numbers { first, last } = one.extent {
                let mut stretched = mixed.clone();
                stretched.stretch(&one.field, if low { first } else { last });
                if self.is_same(&stretched, one) {
                    mixed = stretched;
                }
            }
        }
        // Two masks of one argument may have fallen out with each other.
        for one in depended {
            if !self.is_same(&mixed, one) {
                mixed.take(&one.field, self);
            }
        }
        Some(mixed)
    }

    /// Whether another one has the same in all of these fields.
    #[must_use]
    pub fn is_same_in(&self, other: &Self, depended: &[Depended]) -> bool {
        depended.iter().all(|one| self.is_same(other, one))
    }

    fn is_same(&self, other: &Self, depended: &Depended) -> bool {
        let same = |one: &Request<'_>, other: &Request<'_>| depended.is_same(one, other);
        self.with(|one| other.with(|other| same(one, other)))
    }

    /// Takes a field of another one.
    fn take(&mut self, field: &Field, from: &Self) {
        match field {
            Field::Executable => self.process.executable = from.process.executable,
            Field::ExecutableSha256 => self.process.sha256 = from.process.sha256,
            Field::Uid => self.process.uid = from.process.uid,
            _ => match (&mut self.doing, &from.doing) {
                (Doing::Network(flow), Doing::Network(from)) => flow.take(field, from),
                (
                    Doing::Exec { path, sha256 },
                    Doing::Exec {
                        path: its_path,
                        sha256: its_sha256,
                    },
                ) => match field {
                    Field::Program => *path = its_path,
                    _ => *sha256 = *its_sha256,
                },
                (
                    Doing::File { path, access },
                    Doing::File {
                        path: its_path,
                        access: its_access,
                    },
                ) => match field {
                    Field::Path => *path = its_path,
                    _ => *access = *its_access,
                },
                (
                    Doing::Syscall { call, arguments },
                    Doing::Syscall {
                        call: its_call,
                        arguments: its_arguments,
                    },
                ) => match field {
                    Field::Argument(index, _) => {
                        let at = usize::from(u8::from(*index));
                        if let Some(argument) = arguments.get_mut(at) {
                            *argument = index.of(its_arguments);
                        }
                    }
                    _ => *call = *its_call,
                },
                _ => {}
            },
        }
    }

    /// Gives a field of numbers this one, where it has one already; the largest that there is, where it is larger.
    fn stretch(&mut self, field: &Field, to: u128) {
        match (field, &mut self.doing) {
            (Field::Uid, _) => set(&mut self.process.uid, u32::try_from(to).unwrap_or(u32::MAX)),
            (Field::Argument(index, mask), Doing::Syscall { arguments, .. }) => {
                let to = u64::try_from(to).unwrap_or(u64::MAX);
                if let Some(argument) = arguments.get_mut(usize::from(u8::from(*index))) {
                    *argument = (*argument & !mask) | (to & mask);
                }
            }
            (Field::Call, Doing::Syscall { call, .. }) => {
                *call = u32::try_from(to).unwrap_or(u32::MAX);
            }
            (_, Doing::Network(flow)) => flow.stretch(field, to),
            _ => {}
        }
    }
}

fn set<T>(number: &mut Option<T>, to: T) {
    if let Some(number) = number {
        *number = to;
    }
}

impl OwnedFlow {
    pub(super) fn take(&mut self, field: &Field, from: &Self) {
        match field {
            Field::Direction => self.direction = from.direction,
            Field::Protocol => self.protocol = from.protocol,
            Field::Address => self.address = from.address,
            Field::Port => self.port = from.port,
            Field::IcmpType => self.icmp_type = from.icmp_type,
            Field::PeerNames => self.names.clone_from(&from.names),
            Field::PeerRole => match &from.guest {
                Some(Some(its)) => self.some_guest().role = its.role,
                guest => self.guest.clone_from(guest),
            },
            Field::PeerLabel(key) => match &from.guest {
                Some(Some(its)) => {
                    let labels = &mut self.some_guest().labels;
                    labels.remove(key.as_ref());
                    if let Some(value) = its.labels.get(key.as_ref()) {
                        labels.insert(key.as_ref().into(), value.clone());
                    }
                }
                guest => self.guest.clone_from(guest),
            },
            _ => {}
        }
    }

    fn some_guest(&mut self) -> &mut OwnedGuest {
        let guest = self.guest.get_or_insert_default();
        guest.get_or_insert_default()
    }

    pub(super) fn stretch(&mut self, field: &Field, to: u128) {
        match field {
            Field::Protocol => self.protocol = u8::try_from(to).unwrap_or(u8::MAX),
            Field::Port => set(&mut self.port, u16::try_from(to).unwrap_or(u16::MAX)),
            Field::IcmpType => set(&mut self.icmp_type, u8::try_from(to).unwrap_or(u8::MAX)),
            Field::Address => {
                self.address = match self.address {
                    IpAddr::V4(_) => IpAddr::V4(u32::try_from(to).unwrap_or(u32::MAX).into()),
                    IpAddr::V6(_) => IpAddr::V6(to.into()),
                }
            }
            _ => {}
        }
    }
}
