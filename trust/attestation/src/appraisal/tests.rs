//! Appraisal of reports by a fleet made here, most of them a hostile guest's.

mod against_profile;
pub(crate) mod fleet;
pub(crate) mod scene;
mod verification;
mod without_profile;
