//! The header of a vsock packet (virtio 1.2 section 5.10.6, `struct virtio_vsock_hdr`).

/// Size of the header in bytes.
pub const HEADER_LEN: usize = 44;

/// A header as it stands on the ring: any bytes are one, nothing is checked yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// Context id of the sender.
    pub src_cid: u64,
    /// Context id of the receiver.
    pub dst_cid: u64,
    /// Port of the sender.
    pub src_port: u32,
    /// Port of the receiver.
    pub dst_port: u32,
    /// Size of the payload that follows, in bytes.
    pub len: u32,
    /// Socket type: 1 is stream.
    pub kind: u16,
    /// Operation, see [`Operation`](super::Operation).
    pub op: u16,
    /// Flags of the operation.
    pub flags: u32,
    /// The sender's receive buffer for this connection, in bytes.
    pub buf_alloc: u32,
    /// Bytes that the sender has taken out of that buffer so far (wraps).
    pub fwd_cnt: u32,
}

impl Header {
    /// Reads a header, little-endian.
    #[must_use]
    pub fn from_bytes(b: &[u8; HEADER_LEN]) -> Self {
        Self {
            src_cid: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            dst_cid: u64::from_le_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
            src_port: u32::from_le_bytes([b[16], b[17], b[18], b[19]]),
            dst_port: u32::from_le_bytes([b[20], b[21], b[22], b[23]]),
            len: u32::from_le_bytes([b[24], b[25], b[26], b[27]]),
            kind: u16::from_le_bytes([b[28], b[29]]),
            op: u16::from_le_bytes([b[30], b[31]]),
            flags: u32::from_le_bytes([b[32], b[33], b[34], b[35]]),
            buf_alloc: u32::from_le_bytes([b[36], b[37], b[38], b[39]]),
            fwd_cnt: u32::from_le_bytes([b[40], b[41], b[42], b[43]]),
        }
    }

    /// Writes the header, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..8].copy_from_slice(&self.src_cid.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.dst_cid.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.src_port.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.dst_port.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.len.to_le_bytes());
        bytes[28..30].copy_from_slice(&self.kind.to_le_bytes());
        bytes[30..32].copy_from_slice(&self.op.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.flags.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.buf_alloc.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.fwd_cnt.to_le_bytes());
        bytes
    }
}
