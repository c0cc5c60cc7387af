//! Hooks that run as steps, in the container's namespaces.

use init::{Step, Str};
use oci::runtime as spec;

use super::{Error, Plan, Source, builder::HookName};

/// What the hooks of one list have in common.
#[derive(Debug, Clone)]
pub(crate) struct HookList<'a> {
    /// Its key.
    pub(crate) kind: &'a str,
    /// What the state on their stdin says.
    pub(crate) status: spec::Status,
    /// Of one that names none.
    pub(crate) env: &'a [String],
    /// Where they start; empty: where we are.
    pub(crate) dir: &'a str,
    /// Files for standard output and error.
    pub(crate) output: HookOutput,
}

/// Files for standard output and error of hooks.
pub(crate) type HookOutput = [Option<String>; 2];

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

/// A step for each hook.
pub(super) fn push(
    plan: &mut Plan,
    list: &HookList<'_>,
    hooks: &[spec::Hook],
) -> Result<(), Error> {
    let kind = list.kind;
    for (number, hook) in hooks.iter().enumerate() {
        let field = format!("hooks.{kind}");
        if !hook.path.starts_with('/') {
            return Err(Error::invalid(
                field,
                format!("path {:?} is not absolute", hook.path),
            ));
        }
        let stdin = plan.fd(Source::HookState(list.status));
        let name = HookName {
            kind: kind.to_owned(),
            number,
        };
        let [stdout, stderr] = list.output.each_ref().map(|path| {
            plan.fd(match path {
                Some(path) => Source::HookOutput(path.clone()),
                None => Source::HookWords(name.to_string()),
            })
        });
        let path = plan.str(&field, &hook.path)?;
        let args = if hook.args.is_empty() {
            plan.list_of([path])
        } else {
            plan.list(&field, hook.args.iter().map(String::as_str))?
        };
        let env = hook.env.as_deref().unwrap_or(list.env);
        let env = plan.list(&field, env.iter().map(String::as_str))?;
        let dir = match list.dir {
            "" => Str(0),
            dir => plan.str(&field, dir)?,
        };
        plan.hooks.push(name);
        plan.push(Step::Hook {
            path,
            args,
            env,
            dir,
            timeout_ms: timeout_ms(hook)?,
            stdin,
            stdout,
            stderr,
        });
    }
    Ok(())
}

/// A plan of nothing but hooks, for those of the runtime's side.
pub(crate) fn only(list: &HookList<'_>, hooks: &[spec::Hook]) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    // The parent fills in the state meanwhile.
    plan.push(Step::Sync {
        what: init::Sync::Setup,
    });
    push(&mut plan, list, hooks)?;
    Ok(plan)
}
