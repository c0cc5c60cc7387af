//! The pods' network: what it needs of the kernel.

use super::{Area, Finding};
use crate::config::Said;

/// Looks at the network.
pub(crate) fn look(_: &Said) -> Vec<Finding> {
    Area::new("network").done()
}
