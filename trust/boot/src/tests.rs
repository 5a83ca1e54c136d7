//! The whole of it, on one small release.

mod appraisal;
mod log;
mod manifest;
mod scene;
mod sequence;
