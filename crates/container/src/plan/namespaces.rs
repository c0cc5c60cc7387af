//! Which namespaces are new, which are joined, and in how many steps.
//!
//! ```text
//!  one clone     only new ones, or joins of net, ipc, uts, mnt, cgroup without a user namespace:
//!                clone3(new …) ─► setns …
//!  two clones    a pid or user namespace by path, any join beside a new user namespace, a new time
//!                namespace:
//!                clone3() ─► setns (with the host's rights; user last) ─► Fork(new …)
//! ```
//! The cgroup namespace is unshared after the cgroup was joined, so that its root is the container.

use init::{NO_FD, Step};
use oci::runtime::{self as spec, NamespaceType};

use super::{Error, Plan, Source};
use crate::host::Facts;

/// `uid_map` and `gid_map` texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    /// Lines of uid_map.
    pub uid: String,
    /// Lines of gid_map.
    pub gid: String,
}

impl IdMaps {
    pub(super) fn new(uid: &[spec::LinuxIdMapping], gid: &[spec::LinuxIdMapping]) -> Self {
        let text = |maps: &[spec::LinuxIdMapping]| {
            maps.iter()
                .map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size))
                .collect()
        };
        Self {
            uid: text(uid),
            gid: text(gid),
        }
    }
}

/// The host's number of `count` ids from `id` on, if one extent maps them all.
pub(crate) fn on_host(maps: &[spec::LinuxIdMapping], id: u32, count: u32) -> Option<u32> {
    maps.iter().find_map(|map| {
        let offset = id.checked_sub(map.container_id)?;
        let end = u64::from(offset) + u64::from(count);
        (end <= u64::from(map.size)).then(|| map.host_id.checked_add(offset))?
    })
}

/// The document with mappings for a new user namespace that names none, as crun has it: an
/// unprivileged caller is the process' user, root's ids stay what they are. `None` if it needs none.
pub(super) fn with_maps(spec: &spec::Spec, facts: &Facts) -> Option<spec::Spec> {
    let linux = spec.linux.as_ref()?;
    let user = linux.namespace(NamespaceType::User)?;
    if user.join_path().is_some()
        || !linux.uid_mappings.is_empty()
        || !linux.gid_mappings.is_empty()
    {
        return None;
    }
    let user = spec.process.as_ref().map(|p| p.user.clone());
    let user = user.unwrap_or_default();
    let map = |container_id: u32, host_id: u32| spec::LinuxIdMapping {
        container_id: if host_id == 0 { 0 } else { container_id },
        host_id,
        size: if host_id == 0 {
            container_id.saturating_add(1)
        } else {
            1
        },
    };
    let maps = [map(user.uid, facts.uid), map(user.gid, facts.gid)];
    let mut spec = spec.clone();
    if let Some(linux) = &mut spec.linux {
        let [uid, gid] = maps;
        linux.uid_mappings = vec![uid];
        linux.gid_mappings = vec![gid];
    }
    Some(spec)
}

/// The CLONE_NEW* flag of a namespace.
pub(crate) fn flag(type_: NamespaceType) -> u32 {
    match type_ {
        NamespaceType::Pid => 0x2000_0000,
        NamespaceType::Network => 0x4000_0000,
        NamespaceType::Mount => 0x0002_0000,
        NamespaceType::Ipc => 0x0800_0000,
        NamespaceType::Uts => 0x0400_0000,
        NamespaceType::User => 0x1000_0000,
        NamespaceType::Cgroup => 0x0200_0000,
        NamespaceType::Time => 0x0000_0080,
    }
}

/// The container's namespaces as the document wants them.
pub(super) struct Namespaces<'a> {
    joins: Vec<(NamespaceType, &'a str)>,
    new: Vec<NamespaceType>,
    linux: Option<&'a spec::Linux>,
}

impl<'a> Namespaces<'a> {
    pub(super) fn read(spec: &'a spec::Spec) -> Result<Self, Error> {
        let linux = spec.linux.as_ref();
        let mut this = Self {
            joins: Vec::new(),
            new: Vec::new(),
            linux,
        };
        for namespace in linux.map(|l| l.namespaces.as_slice()).unwrap_or_default() {
            let type_ = namespace.type_;
            if this.has(type_) {
                return Err(Error::invalid(
                    "linux.namespaces",
                    format!("{type_} stands there twice"),
                ));
            }
            match namespace.join_path() {
                Some(path) => this.joins.push((type_, path)),
                None => this.new.push(type_),
            }
        }
        if !this.has(NamespaceType::Mount) {
            return Err(Error::unsupported(
                "linux.namespaces without mount",
                "the root filesystem would be the host's: add {\"type\": \"mount\"}",
            ));
        }
        if this
            .joins
            .iter()
            .any(|(type_, _)| *type_ == NamespaceType::Mount)
        {
            return Err(Error::unsupported(
                "linux.namespaces: mount by path",
                "the root filesystem is set up in a new one: leave the path out",
            ));
        }
        this.check_ids()?;
        Ok(this)
    }

    fn check_ids(&self) -> Result<(), Error> {
        let mapped = self
            .linux
            .is_some_and(|l| !l.uid_mappings.is_empty() || !l.gid_mappings.is_empty());
        if self.is_new(NamespaceType::User) {
            if !self
                .linux
                .is_some_and(|l| !l.uid_mappings.is_empty() && !l.gid_mappings.is_empty())
            {
                return Err(Error::invalid(
                    "linux.uidMappings, linux.gidMappings",
                    "a new user namespace needs both",
                ));
            }
        } else if mapped && !self.has(NamespaceType::User) {
            return Err(Error::invalid(
                "linux.uidMappings",
                "id mappings without a user namespace have no effect",
            ));
        }
        let offsets = self.linux.is_some_and(|l| !l.time_offsets.is_empty());
        if offsets && !self.is_new(NamespaceType::Time) {
            return Err(Error::invalid(
                "linux.timeOffsets",
                "offsets are set on a new time namespace only",
            ));
        }
        Ok(())
    }

    pub(super) fn has(&self, type_: NamespaceType) -> bool {
        self.is_new(type_) || self.joins.iter().any(|(joined, _)| *joined == type_)
    }

    pub(super) fn is_new(&self, type_: NamespaceType) -> bool {
        self.new.contains(&type_)
    }

    fn joins(&self, type_: NamespaceType) -> bool {
        self.joins.iter().any(|(joined, _)| *joined == type_)
    }

    pub(super) fn new_id_maps(&self) -> Option<IdMaps> {
        let linux = self.linux.filter(|_| self.is_new(NamespaceType::User))?;
        Some(IdMaps::new(&linux.uid_mappings, &linux.gid_mappings))
    }

    fn two_clones(&self) -> bool {
        self.joins(NamespaceType::Pid)
            || self.joins(NamespaceType::User)
            || (self.is_new(NamespaceType::User) && !self.joins.is_empty())
            || self.is_new(NamespaceType::Time)
    }

    /// Steps until the child is in all its namespaces, save a new cgroup namespace.
    pub(super) fn enter(&self, plan: &mut Plan, rootless: bool) -> Result<(), Error> {
        let mut new = 0_u32;
        for &type_ in &self.new {
            if !matches!(type_, NamespaceType::Cgroup | NamespaceType::Time) {
                new |= flag(type_);
            }
        }
        let two = self.two_clones();
        if !two {
            plan.namespaces = u64::from(new);
        }
        let user_flag = flag(NamespaceType::User);
        if two && rootless && self.joins.is_empty() {
            // An ordinary user may make a new time namespace in a user namespace only.
            plan.namespaces = u64::from(new & user_flag);
            new &= !user_flag;
        }
        let (user, other): (Vec<_>, Vec<_>) = self
            .joins
            .iter()
            .partition(|(type_, _)| *type_ == NamespaceType::User);
        // With the host's rights, if they are any; an ordinary user has some in its own namespaces only.
        let (first, last) = if rootless {
            (user, other)
        } else {
            (other, user)
        };
        for (type_, path) in first {
            setns(plan, type_, path);
        }
        if self.is_new(NamespaceType::Time) && !rootless {
            self.time(plan)?;
        }
        for (type_, path) in last {
            setns(plan, type_, path);
        }
        if self.is_new(NamespaceType::Time) && rootless {
            self.time(plan)?;
        }
        if two {
            plan.push(Step::Fork {
                flags: u64::from(new),
                cgroup: NO_FD,
            });
        }
        Ok(())
    }

    fn time(&self, plan: &mut Plan) -> Result<(), Error> {
        plan.push(Step::Unshare {
            flags: flag(NamespaceType::Time),
        });
        let mut text = String::new();
        for (clock, offset) in self.linux.into_iter().flat_map(|l| &l.time_offsets) {
            if clock != "monotonic" && clock != "boottime" {
                return Err(Error::invalid(
                    "linux.timeOffsets",
                    format!("{clock:?}: only monotonic and boottime have offsets"),
                ));
            }
            text.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
        }
        if !text.is_empty() {
            let proc = plan.fd(Source::Proc);
            let text = plan.str("linux.timeOffsets", &text)?;
            plan.push(Step::TimeOffsets { proc, text });
        }
        Ok(())
    }
}

fn setns(plan: &mut Plan, type_: NamespaceType, path: &str) {
    let fd = plan.fd(Source::Namespace(type_, path.to_owned()));
    plan.push(Step::Setns {
        fd,
        flags: flag(type_),
    });
}
