//! How much a policy says, whoever it selects: what holds it takes memory by that.

use super::{Exec, File, Network, Peer, Policy, Rule, Selection, Subject, Syscall, What};

/// Most values of a policy, and of all policies of a set together.
///
/// Known attack: an author signs a policy of little but a list of roles, each of which takes many times what it took to write. No guest's
/// index is any larger for it, and the enclave runs out of memory by holding it.
pub const MAX_VALUES: usize = 1 << 17;

impl Policy {
    /// How many rules, thresholds and sets of files it has, and values in all their lists and its own.
    #[must_use]
    pub fn values(&self) -> usize {
        let Self {
            version: _,
            name: _,
            serial: _,
            select,
            defaults: _,
            on_unavailable: _,
            on_violation: _,
            resolvers,
            rules,
            thresholds,
            integrity,
        } = self;
        let files = integrity.iter().flat_map(|set| &set.files);
        select.values()
            + of(resolvers)
            + rules.len()
            + rules.iter().map(Rule::values).sum::<usize>()
            + thresholds.len()
            + integrity.len()
            + files.map(|file| 1 + file.sha256.len()).sum::<usize>()
    }
}

/// Of a list that may be left out.
fn of<T>(list: &Option<Vec<T>>) -> usize {
    list.as_ref().map_or(0, Vec::len)
}

impl Selection {
    fn values(&self) -> usize {
        let Self {
            vms,
            roles,
            labels,
            trust,
        } = self;
        of(vms) + of(roles) + labels.len() + of(trust)
    }
}

impl Rule {
    /// How many values are in its lists.
    pub(crate) fn values(&self) -> usize {
        let Subject {
            executables,
            sha256,
            uids,
        } = &self.subject;
        let what = match &self.what {
            What::Exec(Exec { paths, sha256 }) => of(paths) + of(sha256),
            What::File(File { paths, access }) => of(paths) + of(access),
            What::Network(network) => network.values(),
            What::Syscall(Syscall { calls, arguments }) => {
                let values = arguments.iter().map(|one| 1 + one.values.len());
                of(calls) + values.sum::<usize>()
            }
        };
        of(executables) + of(sha256) + of(uids) + what
    }
}

impl Network {
    fn values(&self) -> usize {
        let Self {
            direction: _,
            protocols,
            peer:
                Peer {
                    addresses,
                    roles,
                    labels,
                    names,
                },
            ports,
            icmp_types,
        } = self;
        let peer = of(addresses) + of(roles) + labels.len() + of(names);
        of(protocols) + peer + of(ports) + of(icmp_types)
    }
}
