//! What the fuzz targets need beside the parsers that they call: a fleet whose keys are fixed, values that are
//! right, and RAM, kernels and rings made of the input.
//!
//! A parser behind a signature is never reached by mutation alone. So most targets of signed formats sign the
//! input themselves, with the fleet's keys: what is fuzzed then is what a taken-over signer could send.

pub mod fleet;
pub mod hostile;
pub mod package;
pub mod pieces;
pub mod scene;
pub mod small_kernel;
pub mod tpm;
pub mod vault;
pub mod vsock;
