//! systemd as the manager of a container's cgroup: a transient scope, delegated to us.
//!
//! ```text
//!  we                               systemd (org.freedesktop.systemd1, over D-Bus)
//!   a process that sleeps
//!   StartTransientUnit(name, replace, [Slice, Delegate, PIDs: sleeper, limits …]) ─►
//!       ◄─ JobRemoved(done)         the scope's directory is there, the sleeper in it
//!   the same directory in every hierarchy that systemd leaves alone; limits it has no property for
//!   the container's first process is born in it; the sleeper ends
//!   …
//!   SetUnitProperties (update)  ─►
//!   StopUnit                    ─►  the scope goes
//! ```
//! A scope needs a process from the start, and the container's own is born inside by
//! CLONE_INTO_CGROUP; hence the sleeper. Limits are told to systemd, so that it does not undo them at a
//! reload, and written to the files as well, which is exact ([`super::limits`]).
//!
//! [`name`] reads `slice:prefix:name`, [`properties`] turns limits into properties, [`manager`] talks.

mod manager;
mod name;
mod properties;

use std::path::{Path, PathBuf};

use oci::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::group::Cgroup;
use super::hierarchy::Hierarchy;

pub(super) use name::ScopeName;
pub(super) use properties::limits;

/// A scope on a bus: what must be kept to change and stop it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The unit's name, `prefix-name.scope`.
    pub name: String,
    /// The socket of the bus.
    pub bus: PathBuf,
}

/// The bus that the manager of this user is on: the system's, or for an ordinary user the session's.
pub(crate) fn default_bus(rootless: bool) -> PathBuf {
    let path = |variable: &str| {
        let value = std::env::var(variable).ok()?;
        let first = value.split(';').next()?;
        let path = first.strip_prefix("unix:path=")?;
        Some(PathBuf::from(path.split(',').next()?))
    };
    if !rootless {
        let system = path("DBUS_SYSTEM_BUS_ADDRESS");
        return system.unwrap_or_else(|| PathBuf::from("/run/dbus/system_bus_socket"));
    }
    path("DBUS_SESSION_BUS_ADDRESS").unwrap_or_else(|| {
        let uid = rustix::process::geteuid().as_raw();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.unwrap_or_else(|| format!("/run/user/{uid}").into());
        runtime.join("bus")
    })
}

/// What a scope is made of.
#[derive(Debug)]
pub(crate) struct NewScope<'a> {
    /// The bus.
    pub(crate) bus: &'a Path,
    /// Whether the manager is an ordinary user's.
    pub(crate) rootless: bool,
    /// `slice:prefix:name`, or nothing.
    pub(crate) path: &'a str,
    /// The container's name.
    pub(crate) id: &'a str,
    /// A process that stays until the container's is there.
    pub(crate) sleeper: i32,
    /// The document: limits, and properties among its annotations.
    pub(crate) spec: &'a Spec,
}

impl Cgroup {
    /// Has systemd make a scope, and makes its directory where systemd does not.
    pub(crate) fn create_scope(
        hierarchy: &Hierarchy,
        scope: &NewScope<'_>,
    ) -> Result<Cgroup, Error> {
        let name = ScopeName::parse(scope.path, scope.id, scope.rootless)?;
        let unit = Unit {
            name: name.unit(),
            bus: scope.bus.to_owned(),
        };
        let mut manager = manager::Manager::connect(&unit)?;
        let base = if scope.rootless {
            manager.control_group()?
        } else {
            String::new()
        };
        let mut properties = properties::scope(&name, scope.id, scope.sleeper, hierarchy.is_v2());
        properties.extend(properties::annotated(&scope.spec.annotations)?);
        manager.start(properties)?;
        let path = format!("{}{}", base.trim_end_matches('/'), name.path());
        let made = Cgroup::create(hierarchy, &path);
        match made {
            Ok(mut cgroup) => {
                cgroup.own(unit);
                Ok(cgroup)
            }
            Err(error) => {
                // The first error is the one to tell.
                let _ = manager.stop();
                Err(error)
            }
        }
    }
}

impl Unit {
    /// Tells systemd limits.
    pub(super) fn set(&self, properties: Vec<properties::Property>) -> Result<(), Error> {
        if properties.is_empty() {
            return Ok(());
        }
        manager::Manager::connect(self)?.set(properties)
    }

    /// Stops the scope; one that is gone is fine.
    pub(super) fn stop(&self) -> Result<(), Error> {
        manager::Manager::connect(self)?.stop()
    }
}
