//! What a vsock device offers its guest's driver.

use crate::vhost_user::Offer;

/// For guest `cid`, which is all of the configuration space (virtio 1.2 section 5.10.4).
#[must_use]
pub fn offer(cid: u32) -> Offer {
    Offer {
        features: 0,
        space: Some(u64::from(cid).to_le_bytes().to_vec()),
        pairs: 1,
    }
}
