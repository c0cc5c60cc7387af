//! Hooks that run as steps, in the container's namespaces.

use init::Step;
use oci::runtime as spec;

use super::{Error, Plan, Source, builder::HookName};

/// Seconds to the milliseconds of a step; none is no limit.
pub(crate) fn timeout_ms(hook: &spec::Hook) -> Result<u32, Error> {
    let Some(seconds) = hook.timeout else {
        return Ok(0);
    };
    u32::try_from(seconds)
        .ok()
        .and_then(|s| s.checked_mul(1000))
        .filter(|&ms| ms > 0)
        .ok_or_else(|| {
            Error::invalid(
                "hooks timeout",
                format!("{seconds}: must be over 0, in seconds"),
            )
        })
}

/// A step for each hook; `status` is what the state on its stdin says.
pub(super) fn push(
    plan: &mut Plan,
    kind: &str,
    hooks: &[spec::Hook],
    status: spec::Status,
) -> Result<(), Error> {
    for (number, hook) in hooks.iter().enumerate() {
        let field = format!("hooks.{kind}");
        if !hook.path.starts_with('/') {
            return Err(Error::invalid(
                field,
                format!("path {:?} is not absolute", hook.path),
            ));
        }
        let stdin = plan.fd(Source::HookState(status));
        let path = plan.str(&field, &hook.path)?;
        let args = if hook.args.is_empty() {
            plan.list_of([path])
        } else {
            plan.list(&field, hook.args.iter().map(String::as_str))?
        };
        let env = plan.list(&field, hook.env.iter().map(String::as_str))?;
        plan.hooks.push(HookName {
            kind: kind.to_owned(),
            number,
        });
        plan.push(Step::Hook {
            path,
            args,
            env,
            timeout_ms: timeout_ms(hook)?,
            stdin,
        });
    }
    Ok(())
}

/// A plan of nothing but hooks, for those of the runtime's side.
pub(crate) fn only(kind: &str, hooks: &[spec::Hook], status: spec::Status) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    // The parent fills in the state meanwhile.
    plan.push(Step::Sync {
        what: init::Sync::Setup,
    });
    push(&mut plan, kind, hooks, status)?;
    Ok(plan)
}
