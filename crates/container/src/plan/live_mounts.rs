//! Mounts that come to a container that exists, or go: by a child that enters its mount namespace.

use init::Step;
use oci::runtime::{self as spec, NamespaceType};

use super::{
    Error, Options, Plan, Source, cgroup,
    mounts::{self, Context},
};
use crate::host::Facts;

fn enter(plan: &mut Plan) {
    let fd = plan.fd(Source::InitPidfd);
    let flags = super::namespace_flag(NamespaceType::Mount);
    plan.push(Step::Setns { fd, flags });
    plan.push(Step::OpenRoot);
}

fn check(facts: &Facts, spec: &spec::Spec) -> Result<(), Error> {
    if facts.rootless {
        return Err(Error::unsupported(
            "mounts of a container that exists",
            "its mount namespace is entered with CAP_SYS_ADMIN, which we do not have",
        ));
    }
    for (index, mount) in spec.mounts.iter().enumerate() {
        let field = format!("mounts[{index}] ({})", mount.destination);
        if !mount.destination.starts_with('/') {
            return Err(Error::invalid(field, "the destination is not absolute"));
        }
        if cgroup::is_cgroup(mount) {
            let reason = "the container's cgroup is shown by its own document only";
            return Err(Error::unsupported(field, reason));
        }
    }
    Ok(())
}

/// Makes the mounts of `spec`.
pub(crate) fn add(facts: &Facts, spec: &spec::Spec, options: &Options) -> Result<Plan, Error> {
    check(facts, spec)?;
    let mut plan = Plan::new();
    enter(&mut plan);
    let (propagation, _) = mounts::propagation(spec.linux.as_ref())?;
    let context = Context {
        facts,
        options,
        spec,
        propagation,
    };
    mounts::push_all(&mut plan, &context)?;
    mounts::make_read_only(&mut plan, spec)?;
    Ok(plan)
}

/// Takes the mounts of `spec` away, the last first.
pub(crate) fn remove(facts: &Facts, spec: &spec::Spec) -> Result<Plan, Error> {
    check(facts, spec)?;
    let mut plan = Plan::new();
    enter(&mut plan);
    for mount in spec.mounts.iter().rev() {
        let dest = plan.str("destination", &mount.destination)?;
        plan.push(Step::Unmount { dest });
    }
    Ok(plan)
}
