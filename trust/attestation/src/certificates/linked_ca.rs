//! The CA that is pinned, kept with the lineage that it was verified in, so that each lineage is verified once.

use std::sync::Arc;

use super::{FleetCa, Lineage, LineageError};

/// A pinned CA, and the CAs of its fleet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LinkedCa {
    ca: Arc<FleetCa>,
    lineage: Arc<Lineage>,
}

impl LinkedCa {
    /// This CA pinned, which leads to the others of a lineage.
    pub fn new(pinned: &FleetCa, lineage: Lineage) -> Result<Self, LineageError> {
        Ok(Self {
            ca: Arc::new(pinned.with_lineage(&lineage)?),
            lineage: Arc::new(lineage),
        })
    }

    /// The present CA of a lineage that was verified before it was kept.
    pub fn present(lineage: Lineage) -> Result<Self, LineageError> {
        let present = FleetCa::from_der(&lineage.present)?;
        Self::new(&present, lineage)
    }

    /// A CA of which no other is known.
    #[must_use]
    pub fn alone(pinned: &FleetCa) -> Self {
        Self {
            ca: Arc::new(pinned.alone()),
            lineage: Arc::new(Lineage::of(pinned.der().to_vec())),
        }
    }

    /// The one that is pinned, and what it leads to.
    #[must_use]
    pub const fn ca(&self) -> &Arc<FleetCa> {
        &self.ca
    }

    /// All of them, unverified, for who pins another one.
    #[must_use]
    pub const fn lineage(&self) -> &Arc<Lineage> {
        &self.lineage
    }

    /// Follows to the present CA of a lineage, as [`FleetCa::rolled`]; `None` where that is done already, and no signature is verified.
    pub fn rolled(&self, told: &Lineage, at_unix_s: u64) -> Result<Option<Self>, LineageError> {
        if *self.lineage == *told && *told.present == *self.ca.der() {
            return Ok(None);
        }
        Ok(Some(Self {
            ca: Arc::new(self.ca.rolled(told, at_unix_s)?),
            lineage: Arc::new(told.clone()),
        }))
    }
}
