//! Virtio devices of guests over vhost-user.
//!
//! A process without any key that serves each guest's vsock device: the guest reaches the host's
//! services that the hypervisor daemon admitted it to, and nothing else. A guest's CID is checked on every packet, so
//! that a service behind a guest's own sockets knows which guest speaks. It serves guests' network devices, too: each flow
//! between guests is asked about, and enforced as it was decided.
//!
//! | module | its work |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`control`] | the daemon admits devices, supervisors attach them |
//! | [`decisions`] | who decides on flows is asked, and heard |
//! | [`device`] | the thread of a guest's vsock device |
//! | [`link`] | a guest's link, by which it is ended |
//! | [`exchange`] | packets between rings and switch |
//! | [`vsock`] | the switch: packets and connections |
//! | [`net`] | network devices: frames, flows, the switch between guests |
//! | [`vhost_user`] | RAM and rings as QEMU describes them |
//! | [`hardening`] | what the process gives up before it serves |

#![forbid(unsafe_code)]

pub mod config;
pub mod control;
pub mod decisions;
pub mod device;
pub mod exchange;
pub mod hardening;
pub mod link;
pub mod net;
pub mod vhost_user;
pub mod vsock;
