//! A device's turn: the input is a guest's RAM with both rings in it.
#![no_main]

use bartizan_devices::exchange::Exchange;
use bartizan_devices::vsock::{Limits, Services, Switch};
use bartizan_fuzz::vsock::{GUEST, backend, epoll};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let epoll = epoll();
    let mut backend = backend(data, &epoll);
    let limits = Limits { connections: 4 };
    let mut switch =
        Switch::new(GUEST, Services::default(), limits, (epoll, 16), None).expect("a switch");
    let mut exchange = Exchange::new(GUEST);
    // Rings of 16 descriptors hold less than a batch: what is available at first is all that there is.
    let turns = (0..8)
        .take_while(|_| exchange.turn(&mut backend, &mut switch))
        .count();
    assert!(turns < 4, "a device that never rests");
});
