//! The whole of it, on one small release.

mod appraisal;
mod firmware_log;
mod log;
mod manifest;
mod scene;
mod sequence;
