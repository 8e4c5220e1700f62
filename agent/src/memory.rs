//! What checks remember from one look to the next. Lost when the agent ends: a check that needs it begins anew then.

use crate::checks::vip_local::Renewal;
use crate::restarts::Restarts;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Memory of all checks of a node.
#[derive(Debug, Default)]
pub struct Memory {
    renewal: Mutex<Option<Renewal>>,
    restarts: Mutex<BTreeMap<&'static str, Restarts>>,
}

impl Memory {
    /// Of `vip.local`: the last renewal of the Lease.
    pub fn renewal(&self) -> MutexGuard<'_, Option<Renewal>> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of `unit.*`: restarts by name of the unit.
    pub fn restarts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Restarts>> {
        self.restarts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
