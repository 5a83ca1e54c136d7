//! Hashing a guest's RAM against hashing memory of one's own, by the same library.

use anyhow::{Result, ensure};
use bartizan_attestation::digest::hash;
use bartizan_attestation::measurement::{Digest, HashAlgorithm};
use bartizan_guest_memory::Gpa;
use bartizan_measuring::{Better, Outcome, Part, Samples, rounds, timed};

use crate::SUITE;
use crate::exchange::MEASURED;
use crate::rig::Subject;

/// Bytes that are hashed.
const SIZE: usize = 256 << 20;
const WARM_UP: usize = 1;
const ROUNDS: usize = 11;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    algorithm: HashAlgorithm,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "hash_sha256",
        algorithm: HashAlgorithm::Sha256,
    },
    Case {
        name: "hash_sha384",
        algorithm: HashAlgorithm::Sha384,
    },
    Case {
        name: "hash_sha3_256",
        algorithm: HashAlgorithm::Sha3_256,
    },
    Case {
        name: "hash_blake3",
        algorithm: HashAlgorithm::Blake3,
    },
];

impl Case {
    pub(crate) fn run(&self, subject: &Subject) -> Result<Outcome> {
        // Present before it is filled, as a measurer's is.
        let mut snapshot = vec![1; SIZE];
        let own = self.checked_copy(subject, &mut snapshot)?;
        let (mut of_guest, mut of_own) = (Samples::default(), Samples::default());
        rounds(self.name, WARM_UP, ROUNDS, |counts| {
            let guest = timed(|| self.of_guest(subject, &mut snapshot))?;
            let private = timed(|| Ok(hash(self.algorithm, &own)))?;
            if counts {
                of_guest.add(guest);
                of_own.add(private);
            }
            Ok(())
        })?;
        let throughput = |samples: &Samples| (SIZE >> 20) as f64 / samples.median();
        let (value, reference_value) = (throughput(&of_guest), throughput(&of_own));
        let part = |name: &str, samples: &Samples| Part {
            name: format!("{name}, {} MiB", SIZE >> 20),
            milliseconds: samples.median() * 1e3,
            counted: true,
        };
        Ok(Outcome {
            suite: SUITE,
            case: self.name,
            value,
            unit: "MiB/s",
            reference: "the same library over private anonymous memory of the same size",
            reference_value,
            ratio: value / reference_value,
            better: Better::Higher,
            goal: 0.95,
            rounds: ROUNDS,
            spread: of_guest.spread(),
            parts: vec![
                part(
                    "guest RAM, copied into a snapshot and hashed there",
                    &of_guest,
                ),
                part("private memory", &of_own),
            ],
        })
    }

    /// Memory of our own with the guest's RAM in it, once both ways of hashing agree on it.
    fn checked_copy(&self, subject: &Subject, snapshot: &mut [u8]) -> Result<Vec<u8>> {
        let digest = self.of_guest(subject, snapshot)?;
        let copy = snapshot.to_vec();
        ensure!(
            digest == hash(self.algorithm, &copy),
            "two digests of the same bytes"
        );
        Ok(copy)
    }

    /// The digest over the guest's RAM, as a measurer makes it: a snapshot first, since the guest may write at any time.
    fn of_guest(&self, subject: &Subject, snapshot: &mut [u8]) -> Result<Digest> {
        subject.ram.copy_pages(Gpa(MEASURED), snapshot)?;
        Ok(hash(self.algorithm, snapshot))
    }
}
