//! One connection between a port of the guest and a service of the host.
//!
//! ```text
//!  Request ──► answered by Response ──► open ──┬─ guest Shutdown(send) ──► bytes flushed, SHUT_WR
//!                                              ├─ host end of file ──► Shutdown(send) to the guest
//!                                              └─ guest Shutdown(both), flushed ──► Reset, gone
//! ```

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::credit::{Credit, CreditError};
use super::header::Header;
use super::host::{HostSocket, Received};
use super::packet::{MAX_PAYLOAD, NO_MORE_RECEIVE, NO_MORE_SEND, op};

/// How long a service may take to read what a guest sent before it closed.
const LINGER: Duration = Duration::from_secs(30);

/// Capacity in bytes above which an emptied buffer is given back.
const KEPT_CAPACITY: usize = 8 << 10;

/// A connection that the host's service accepted.
pub(super) struct Connection {
    host: HostSocket,
    credit: Credit,
    to_host: VecDeque<u8>,
    /// Whether reading the host's socket may bring something.
    readable: bool,
    /// The service takes no more: what still comes is discarded.
    host_refuses: bool,
    guest_ended_sending: bool,
    guest_ended_receiving: bool,
    sending_ended: bool,
    owed: Owed,
    asked_for_credit: bool,
    deadline: Option<Instant>,
}

/// Packets that the guest must still get.
#[derive(Default)]
struct Owed {
    response: bool,
    credit: bool,
    /// `NO_MORE_*` not told yet.
    shutdown: u32,
    /// `NO_MORE_*` told.
    told: u32,
}

/// What a connection has for the guest.
pub(super) enum Next {
    /// A packet: operation, flags, credit and length are filled in; the payload is in the buffer.
    Packet(Header),
    /// Nothing now.
    Nothing,
    /// It is over: reset it.
    Over,
}

impl Connection {
    /// A connection whose request the guest just made.
    pub(super) fn new(host: HostSocket, buf_alloc: u32) -> Self {
        Self {
            host,
            credit: Credit::new(buf_alloc),
            to_host: VecDeque::new(),
            readable: true,
            host_refuses: false,
            guest_ended_sending: false,
            guest_ended_receiving: false,
            sending_ended: false,
            owed: Owed {
                response: true,
                ..Owed::default()
            },
            asked_for_credit: false,
            deadline: None,
        }
    }

    /// Takes the guest's news about its buffer.
    pub(super) fn learn(&mut self, buf_alloc: u32, fwd_cnt: u32) -> Result<(), CreditError> {
        self.credit.learn(buf_alloc, fwd_cnt)?;
        self.asked_for_credit &= self.credit.available() == 0;
        Ok(())
    }

    /// Takes data of the guest.
    pub(super) fn receive(&mut self, payload: &[u8]) -> Result<(), CreditError> {
        self.credit.receive(payload.len())?;
        if self.guest_ended_sending || self.host_refuses {
            self.credit.forward(clamp(payload.len()));
            return Ok(());
        }
        let sent = if self.to_host.is_empty() {
            self.send(payload)
        } else {
            0
        };
        if !self.host_refuses {
            self.to_host.extend(payload.get(sent..).unwrap_or_default());
        }
        Ok(())
    }

    /// The guest asked for news about the device's buffer.
    pub(super) fn owe_credit(&mut self) {
        self.owed.credit = true;
    }

    /// The guest ends directions.
    pub(super) fn shutdown(&mut self, receive: bool, send: bool, now: Instant) {
        if receive && !self.guest_ended_receiving {
            self.guest_ended_receiving = true;
            self.host.end_receiving();
        }
        self.guest_ended_sending |= send;
        self.flush();
        if self.guest_ended_receiving && self.guest_ended_sending && self.deadline.is_none() {
            self.deadline = Some(now + LINGER);
        }
    }

    /// The host's socket became ready.
    pub(super) fn host_ready(&mut self) {
        self.readable = true;
        self.flush();
    }

    /// When it must be over by.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The next packet for the guest, with at most `room` bytes of payload.
    pub(super) fn next(&mut self, room: usize, payload: &mut Vec<u8>) -> Next {
        payload.clear();
        if std::mem::take(&mut self.owed.response) {
            return self.packet(op::RESPONSE, 0, 0);
        }
        if self.guest_ended_receiving && self.guest_ended_sending && self.to_host.is_empty() {
            return Next::Over;
        }
        match self.read(room, payload) {
            Ok(0) => {}
            Ok(count) => return self.packet(op::RW, 0, count),
            Err(BrokenHost) => return Next::Over,
        }
        if self.owed.shutdown != 0 {
            self.owed.told |= std::mem::take(&mut self.owed.shutdown);
            return self.packet(op::SHUTDOWN, self.owed.told, 0);
        }
        if std::mem::take(&mut self.owed.credit) || self.credit.is_update_due() {
            return self.packet(op::CREDIT_UPDATE, 0, 0);
        }
        let stalled = self.readable && !self.guest_ended_receiving && self.credit.available() == 0;
        if stalled && !self.asked_for_credit {
            self.asked_for_credit = true;
            return self.packet(op::CREDIT_REQUEST, 0, 0);
        }
        Next::Nothing
    }

    /// Reads the host's socket as far as the guest can take it; returns the bytes read.
    fn read(&mut self, room: usize, payload: &mut Vec<u8>) -> Result<usize, BrokenHost> {
        let most = room.min(self.credit.available()).min(MAX_PAYLOAD);
        if !self.readable || self.guest_ended_receiving || most == 0 {
            return Ok(0);
        }
        payload.resize(most, 0);
        let received = self.host.receive(payload).map_err(|_| BrokenHost)?;
        let count = match received {
            Received::Bytes(count) => count,
            Received::Nothing => 0,
            Received::End => {
                self.owe_shutdown(NO_MORE_SEND);
                0
            }
        };
        self.readable = count != 0;
        payload.truncate(count);
        self.credit.send(clamp(count));
        Ok(count)
    }

    /// Moves what the guest sent on to the service, then the end if the guest ended.
    fn flush(&mut self) {
        while !self.to_host.is_empty() && !self.host_refuses {
            let waiting = std::mem::take(&mut self.to_host);
            let sent = self.send(waiting.as_slices().0);
            self.to_host = waiting;
            self.to_host.drain(..sent);
            if sent == 0 {
                break;
            }
        }
        if self.host_refuses {
            self.credit.forward(clamp(self.to_host.len()));
            self.to_host.clear();
        }
        if self.to_host.is_empty() {
            self.to_host.shrink_to(KEPT_CAPACITY);
            if self.guest_ended_sending && !self.sending_ended {
                self.sending_ended = true;
                self.host.end_sending();
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        match self.host.send(bytes) {
            Ok(sent) => {
                self.credit.forward(clamp(sent));
                sent
            }
            Err(_) => {
                self.host_refuses = true;
                self.owe_shutdown(NO_MORE_RECEIVE);
                0
            }
        }
    }

    fn owe_shutdown(&mut self, flag: u32) {
        self.owed.shutdown |= flag & !self.owed.told;
    }

    fn packet(&mut self, op: u16, flags: u32, len: usize) -> Next {
        let (buf_alloc, fwd_cnt) = self.credit.tell();
        Next::Packet(Header {
            op,
            flags,
            len: clamp(len),
            buf_alloc,
            fwd_cnt,
            ..Header::default()
        })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.host.as_fd()
    }
}

/// The host's socket failed: the service died with data unread.
struct BrokenHost;

/// Sizes here are at most [`MAX_PAYLOAD`] or a buffer.
fn clamp(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
