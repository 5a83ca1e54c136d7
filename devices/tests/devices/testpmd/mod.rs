//! An independent front end: Debian's dpdk-testpmd drives a guest's network device, without QEMU, and what it sends is judged as what
//! any guest sends.

mod front_end;
mod queues;
mod relay;
mod verdicts;
