//! How large messages may be. `stream.proto` says the same beside its fields.

/// Largest message to the verifier, in bytes.
pub const MAX_UP: usize = 256 << 10;
/// Largest message to the enclave, in bytes.
pub const MAX_DOWN: usize = 5 << 20;
/// Largest piece of signed evidence, in bytes.
pub const MAX_EVIDENCE: usize = 192 << 10;
/// Most guests that a set is acknowledged for.
pub const MAX_GUESTS: usize = 1024;
/// Most policies of a set.
pub const MAX_POLICIES: usize = 256;
/// Bytes that the signed policies of a set have altogether, at most.
pub const MAX_SET: usize = 4 << 20;
/// Longest text for people, in bytes.
pub const MAX_DETAIL: usize = 1024;
