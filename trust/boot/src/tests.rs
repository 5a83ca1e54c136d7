//! The whole of it, on one small release.

mod log;
mod manifest;
mod scene;
mod sequence;
