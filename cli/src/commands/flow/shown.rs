//! What an order may have shown; pure.
//!
//! Known attack: whoever answers in the card's place shows without end, so that memory or a disk is filled; a list breaks off, so that what
//! is missing seems not to be there.

use bartizan_attestation::host::{FlowShown, FlowsEnd, FlowsTally};
use bartizan_attestation::operation::CaptureLimits;

/// Most flows of a list: more than any guest has (SPECIFICATION.md), live and over.
const MOST_FLOWS: usize = 1 << 16;
/// Bytes of a pcap file before its packets, and before each of them.
const FILE_HEADER: u64 = 24;
const PACKET_HEADER: u64 = 16;

/// What was shown is not what was ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ShownError {
    /// It has ended before its end.
    #[error("the list is not complete ({}); list again", ended(*.0))]
    Incomplete(FlowsEnd),
    /// Flows have got lost, or were added.
    #[error("{shown} flows were shown of {told}; are both of one version?")]
    Miscounted {
        /// Those that came.
        shown: usize,
        /// Those that are said to have.
        told: u64,
    },
    /// More flows than a guest has.
    #[error(
        "more than {MOST_FLOWS} flows were shown; what answers for the card is not to be relied on"
    )]
    TooManyFlows,
    /// A capture that goes beyond its limits.
    #[error("more was shown than was ordered; what answers for the card is not to be relied on")]
    TooManyBytes,
}

/// The flows of a list.
#[derive(Debug, Default)]
pub(super) struct Listed(Vec<FlowShown>);

impl Listed {
    /// More of them.
    pub(super) fn add(&mut self, more: Vec<FlowShown>) -> Result<(), ShownError> {
        if self.0.len() + more.len() > MOST_FLOWS {
            return Err(ShownError::TooManyFlows);
        }
        self.0.extend(more);
        Ok(())
    }

    /// All of them, in the order in which they began.
    pub(super) fn complete(
        self,
        why: FlowsEnd,
        tally: FlowsTally,
    ) -> Result<Vec<FlowShown>, ShownError> {
        if why != FlowsEnd::Complete {
            return Err(ShownError::Incomplete(why));
        }
        let (mut flows, told) = (self.0, tally.told);
        if flows.len() as u64 != told {
            let shown = flows.len();
            return Err(ShownError::Miscounted { shown, told });
        }
        flows.sort_by_key(|flow| flow.began_ms);
        Ok(flows)
    }
}

/// How many bytes of a pcap file may still come.
#[derive(Debug)]
pub(super) struct Room(u64);

impl Room {
    /// What a capture within these limits has: its last packet may go beyond the limit of bytes.
    pub(super) const fn of(limits: CaptureLimits) -> Self {
        let headers = limits.packets.saturating_mul(PACKET_HEADER);
        let packets = limits.bytes.saturating_add(limits.snap as u64);
        Self(FILE_HEADER.saturating_add(headers).saturating_add(packets))
    }

    /// So many more.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), ShownError> {
        let left = self.0.checked_sub(bytes.len() as u64);
        self.0 = left.ok_or(ShownError::TooManyBytes)?;
        Ok(())
    }
}

/// Why it has ended, for people.
pub(super) const fn ended(why: FlowsEnd) -> &'static str {
    match why {
        FlowsEnd::Complete => "that is all",
        FlowsEnd::Packets => "as many packets as were wanted",
        FlowsEnd::Bytes => "as many bytes as were wanted",
        FlowsEnd::Time => "the time is over",
        FlowsEnd::Gone => "the guest has ended, or its device was attached anew",
        FlowsEnd::Left => "nobody has read any more",
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::tests::flow;
    use super::*;

    fn tally(told: u64) -> FlowsTally {
        FlowsTally {
            told,
            ..FlowsTally::default()
        }
    }

    fn listed(began: &[u64]) -> Listed {
        let flows = began
            .iter()
            .map(|&began_ms| FlowShown { began_ms, ..flow() });
        Listed(flows.collect())
    }

    /// Known attack: a list breaks off, or loses flows, so that they seem not to be there.
    #[test]
    fn a_list_is_all_of_it_or_none() {
        let flows = listed(&[2, 1]).complete(FlowsEnd::Complete, tally(2));
        let began: Vec<_> = flows.unwrap().iter().map(|flow| flow.began_ms).collect();
        assert_eq!(began, [1, 2]);
        for why in [FlowsEnd::Gone, FlowsEnd::Time, FlowsEnd::Left] {
            let refused = listed(&[1]).complete(why, tally(1));
            assert_eq!(refused, Err(ShownError::Incomplete(why)));
        }
        for told in [0, 2] {
            let refused = listed(&[1]).complete(FlowsEnd::Complete, tally(told));
            assert_eq!(refused, Err(ShownError::Miscounted { shown: 1, told }));
        }
    }

    /// Known attack: a list without end fills memory.
    #[test]
    fn a_list_has_no_more_flows_than_a_guest() {
        let mut listed = listed(&[1; MOST_FLOWS - 1]);
        assert_eq!(listed.add(vec![flow(); 2]), Err(ShownError::TooManyFlows));
        assert_eq!(listed.add(vec![flow()]), Ok(()));
        assert_eq!(listed.add(vec![flow()]), Err(ShownError::TooManyFlows));
    }

    /// Known attack: a capture without end fills a disk.
    #[test]
    fn a_capture_has_no_more_bytes_than_its_limits_allow() {
        let limits = CaptureLimits {
            packets: 2,
            bytes: 100,
            snap: 60,
            seconds: 1,
        };
        let mut room = Room::of(limits);
        assert_eq!(room.take(&[0; 24]), Ok(()));
        assert_eq!(room.take(&[0; 16 + 60 + 16 + 60]), Ok(()));
        assert_eq!(room.take(&[0; 41]), Err(ShownError::TooManyBytes));
        assert_eq!(room.take(&[0; 40]), Ok(()));
        assert_eq!(room.take(&[0]), Err(ShownError::TooManyBytes));
        let most = CaptureLimits {
            packets: u64::MAX,
            bytes: u64::MAX,
            ..limits
        };
        assert_eq!(Room::of(most).take(&[0; 100]), Ok(()));
    }
}
