//! Release manifests: made of a description, signed offline.
//!
//! A description is YAML. Digests that it does not give are computed from the files.
//!
//! ```yaml
//! product: bartizan
//! part: base              # or bundle
//! version: 7              # goes up with each release
//! components:
//!   - { name: vault.yaml, phase: card, path: /etc/bartizan/vault.yaml }
//!   - name: bartizan-vault
//!     phase: card
//!     path: /usr/lib/bartizan/bartizan-vault
//!     expand: libraries   # its loader and its libraries are measured, too, and it is executed with these
//!     start: { user: bartizan-vault, arguments: [--config, '{vault.yaml}'], link: vault }
//!   - { name: qemu, phase: devices, path: /usr/bin/qemu-system-x86_64, expand: libraries }
//! ```

mod description;
mod expand;
mod files;

pub use description::{Description, DescriptionError};
pub use files::{Difference, differences};
