//! A new report key because an operator wants one.

use bartizan_attestation::host::{ReportKeyRotated, ToMeasurer};
use tokio::sync::oneshot;

use super::Guest;

/// Where the answer goes.
type Answer = oneshot::Sender<Result<ReportKeyRotated, String>>;

/// The rotation under way: one at a time.
#[derive(Debug, Default)]
pub(super) struct Rotating {
    orders: u64,
    under_way: Option<(u64, Answer)>,
}

impl Rotating {
    /// The measurer is gone, and the next one makes a key by itself: whichever it is, it is a new one.
    pub(super) fn lost(&mut self) {
        if let Some((order, _)) = &mut self.under_way {
            *order = 0;
        }
    }

    /// A key was taken into use that was made after this order.
    pub(super) fn installed(&mut self, order: Option<u64>, rotated: ReportKeyRotated) {
        let done = |(under_way, _): &mut (u64, Answer)| order.unwrap_or(0) >= *under_way;
        if let Some((_, answer)) = self.under_way.take_if(done) {
            let _ = answer.send(Ok(rotated));
        }
    }

    /// The number of the next order, if none is under way that somebody waits for.
    fn next(&mut self) -> Option<u64> {
        let waits = |(_, answer): &(u64, Answer)| !answer.is_closed();
        if self.under_way.as_ref().is_some_and(waits) {
            return None;
        }
        self.orders = self.orders.saturating_add(1);
        Some(self.orders)
    }
}

impl Guest<'_> {
    pub(super) fn rotate_report_key(&mut self, answer: Answer) {
        let Some(order) = self.rotating.next() else {
            let _ = answer.send(Err("another rotation of it is under way".into()));
            return;
        };
        if self.keeper.tell(ToMeasurer::RotateKey { order }) {
            self.rotating.under_way = Some((order, answer));
        } else {
            let _ = answer.send(Err("there is no measurer at present".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotated(new: u8) -> ReportKeyRotated {
        ReportKeyRotated {
            new: [new; 32].into(),
            destroyed: None,
        }
    }

    fn begun(rotating: &mut Rotating) -> oneshot::Receiver<Result<ReportKeyRotated, String>> {
        let (answer, receiver) = oneshot::channel();
        let order = rotating.next().unwrap();
        rotating.under_way = Some((order, answer));
        receiver
    }

    #[test]
    fn a_key_that_was_made_before_the_order_is_no_answer_to_it() {
        let mut rotating = Rotating::default();
        let mut first = begun(&mut rotating);
        rotating.installed(None, rotated(1));
        assert!(first.try_recv().is_err());
        rotating.installed(Some(1), rotated(2));
        assert_eq!(first.try_recv().unwrap(), Ok(rotated(2)));
        let mut second = begun(&mut rotating);
        rotating.installed(Some(1), rotated(3));
        assert!(second.try_recv().is_err());
        assert_eq!(rotating.next(), None, "one at a time");
        rotating.installed(Some(2), rotated(4));
        assert_eq!(second.try_recv().unwrap(), Ok(rotated(4)));
    }

    #[test]
    fn the_key_of_a_new_measurer_is_a_new_one() {
        let mut rotating = Rotating::default();
        let mut waiting = begun(&mut rotating);
        rotating.lost();
        rotating.installed(None, rotated(1));
        assert_eq!(waiting.try_recv().unwrap(), Ok(rotated(1)));
    }

    #[test]
    fn who_went_away_keeps_nobody_waiting() {
        let mut rotating = Rotating::default();
        drop(begun(&mut rotating));
        assert_eq!(rotating.next(), Some(2));
    }
}
